"""Find the adapter of a workspace's backend. Only this module passes settings to adapters."""

import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from django.conf import settings

from workspaces.provisioners.base import Provisioner
from workspaces.provisioners.kinds import BackendKind
from workspaces.provisioners.process import cgroups, namespaces
from workspaces.provisioners.process.folders import ProcessSettings
from workspaces.provisioners.process.provisioner import ProcessProvisioner
from workspaces.provisioners.simulated.provisioner import SimulatedProvisioner


def process_provisioner() -> ProcessProvisioner:
    """Return a process backend as the settings describe it."""
    inherited = {name: os.environ[name] for name in settings.AGENT_PASSTHROUGH_ENV if name in os.environ}
    parents = {"own": cgroups.of_process(), "none": None}
    workspaces = settings.DATA_DIR / "workspaces"
    # What agents run must not be hidden with Slipway's files.
    needed = (settings.BASE_DIR, Path(sys.prefix), *settings.CATALOG_DIRS)
    limits = {"memory.max": settings.AGENT_MEMORY_BYTES, "pids.max": settings.AGENT_PROCESSES}
    return ProcessProvisioner(
        ProcessSettings(
            root=workspaces,
            log_bytes=settings.AGENT_LOG_BYTES,
            inherited=inherited,
            namespaces=namespaces.allowed() if settings.AGENT_NAMESPACES else 0,
            hidden=(
                workspaces if any(path.is_relative_to(settings.DATA_DIR) for path in needed) else settings.DATA_DIR,
            ),
            cgroup=parents.get(settings.AGENT_CGROUP, Path(settings.AGENT_CGROUP)),
            limits={name: value for name, value in limits.items() if value},
        )
    )


# How to make the adapter of each kind that Slipway launches on.
ADAPTERS: dict[BackendKind, Callable[[], Provisioner]] = {
    BackendKind.PROCESS: process_provisioner,
    BackendKind.SIMULATED: lambda: SimulatedProvisioner(root=settings.DATA_DIR / "simulated"),
}


@cache
def get_provisioner(kind: str) -> Provisioner:
    """Return the adapter of a kind of backend, one per process. Raises KeyError for `external`."""
    return ADAPTERS[BackendKind(kind)]()
