from collections.abc import Iterator

import pytest

from tests.workspaces.fake_backend import backend_in_memory
from tests.workspaces.fake_provisioner import FakeProvisioner


@pytest.fixture
def fake() -> Iterator[FakeProvisioner]:
    """A backend in memory in place of the process backend."""
    with backend_in_memory() as fake:
        yield fake
