"""The simulated backend that nobody plays, registered in place of the process backend and held to the same contract."""

from contextlib import contextmanager

from tests.workspaces.fake_provisioner import FakeProvisioner
from workspaces.models import BackendKind
from workspaces.provisioners import registry


@contextmanager
def backend_in_memory():
    """Launch on a new one while the block runs."""
    adapter, fake = registry.ADAPTERS[BackendKind.PROCESS], FakeProvisioner()
    registry.ADAPTERS[BackendKind.PROCESS] = lambda: fake
    registry.get_provisioner.cache_clear()
    try:
        yield fake
    finally:
        registry.ADAPTERS[BackendKind.PROCESS] = adapter
        registry.get_provisioner.cache_clear()
