import pytest

from tests.workspaces.fake_backend import fake_backend


@pytest.fixture
def fake():
    """A simulated backend in place of the process backend."""
    with fake_backend() as fake:
        yield fake
