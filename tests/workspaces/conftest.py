import pytest

from tests.workspaces.fake_backend import backend_in_memory


@pytest.fixture
def fake():
    """A backend in memory in place of the process backend."""
    with backend_in_memory() as fake:
        yield fake
