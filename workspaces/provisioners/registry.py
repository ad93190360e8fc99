"""Finds the adapter for a workspace's backend; the only place where adapters meet the settings."""

import os
from collections.abc import Callable
from functools import cache

from django.conf import settings

from workspaces.models import BackendKind
from workspaces.provisioners.base import Provisioner
from workspaces.provisioners.process.provisioner import ProcessProvisioner
from workspaces.provisioners.simulated.provisioner import SimulatedProvisioner


def _process() -> Provisioner:
    inherited = {name: os.environ[name] for name in settings.AGENT_PASSTHROUGH_ENV if name in os.environ}
    return ProcessProvisioner(
        root=settings.DATA_DIR / "workspaces", log_bytes=settings.AGENT_LOG_BYTES, inherited=inherited
    )


def _simulated() -> Provisioner:
    return SimulatedProvisioner(root=settings.DATA_DIR / "simulated")


# How the adapter of each kind is made that something is launched on.
ADAPTERS: dict[BackendKind, Callable[[], Provisioner]] = {
    BackendKind.PROCESS: _process,
    BackendKind.SIMULATED: _simulated,
}
LAUNCHABLE_KINDS = tuple(ADAPTERS)


@cache
def get_provisioner(kind: str) -> Provisioner:
    """Return the adapter for a kind of backend. Raises KeyError for one that nothing is launched on."""
    return ADAPTERS[BackendKind(kind)]()
