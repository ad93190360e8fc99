"""The simulated backend that nobody plays, registered in place of the process backend and held to the same contract."""

from collections.abc import Iterator
from contextlib import contextmanager

from workspaces.models import BackendKind
from workspaces.provisioners import backends
from workspaces.provisioners.fake import FakeProvisioner


@contextmanager
def backend_in_memory() -> Iterator[FakeProvisioner]:
    """Launch on a new one while the block runs."""
    adapter, fake = backends.ADAPTERS[BackendKind.PROCESS], FakeProvisioner()
    backends.ADAPTERS[BackendKind.PROCESS] = lambda: fake
    backends.backend.cache_clear()
    try:
        yield fake
    finally:
        backends.ADAPTERS[BackendKind.PROCESS] = adapter
        backends.backend.cache_clear()
