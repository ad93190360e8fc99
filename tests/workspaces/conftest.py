from collections.abc import Iterator

import pytest

from workspaces.provisioners import backends
from workspaces.provisioners.fake import FakeProvisioner


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvisioner]:
    """A backend in memory in place of the process backend, held to the same contract."""
    fake = FakeProvisioner()
    monkeypatch.setattr(backends, "_process", lambda: fake)
    backends.backend.cache_clear()
    yield fake
    backends.backend.cache_clear()
