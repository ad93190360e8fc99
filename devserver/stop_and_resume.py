"""Stops the workspaces of this machine at the end of `make up`: record them as paused, then stop their processes."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from django.conf import settings
from django.db import connection

from postgres.clock import database_now
from workspaces.models import Launch
from workspaces.provisioners.base import LaunchKey, ProvisionerError
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.stopping import shutdown, teardown

_THREADS = 32
# `make up` must end within ten seconds, even if AGENT_STOP_SECONDS allows a single stop more.
_STOP_SECONDS = 4.0


def stop_workspaces() -> tuple[int, int]:
    """Pause every running workspace and stop it. Return how many have stopped and how many have not."""
    launches = shutdown.pause_all_for_shutdown(now=database_now())
    request_stops(launches)
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        has_stopped = list(pool.map(_tear_down, [launch.pk for launch in launches]))
    return sum(has_stopped), len(has_stopped) - sum(has_stopped)


def request_stops(launches: list[Launch]) -> None:
    """Ask all launches to stop before any is waited for, so that they stop at the same time."""
    for launch in launches:
        try:
            get_provisioner(launch.backend).request_stop(
                LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)
            )
        except ProvisionerError:
            # The teardown asks again and records the error.
            continue


def _tear_down(launch_id: UUID) -> bool:
    try:
        seconds = min(settings.AGENT_STOP_SECONDS, _STOP_SECONDS)
        return teardown.tear_down(launch_id=launch_id, now=database_now(), stop_seconds=seconds)
    finally:
        # Each thread has its own connection.
        connection.close()
