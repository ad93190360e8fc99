"""Stopping the workspaces of this machine, all at once: recorded as stopped, then confirmed gone."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from django.conf import settings
from django.db import connection

from postgres.clock import database_now
from workspaces.models import Launch
from workspaces.provisioners.base import LaunchKey, ProvisionerError
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.stopping import shutdown, teardown

_AT_ONCE = 32
# All of `make up` is gone within ten seconds, whatever AGENT_STOP_SECONDS grants a single stop.
_STOP_SECONDS = 4.0


def stop_workspaces() -> tuple[int, int]:
    """Record every running workspace as stopped and stop it. Return how many are gone, and how many not."""
    launches = shutdown.pause_all_for_shutdown(now=database_now())
    request_stops(launches)
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        gone = list(pool.map(_tear_down, [launch.pk for launch in launches]))
    return sum(gone), len(gone) - sum(gone)


def request_stops(launches: list[Launch]) -> None:
    """Ask all of them first, so that the waiting for each runs at the same time."""
    for launch in launches:
        try:
            get_provisioner(launch.backend).request_stop(
                LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)
            )
        except ProvisionerError:
            # The teardown below asks again, and records what is wrong.
            continue


def _tear_down(launch_id: UUID) -> bool:
    try:
        seconds = min(settings.AGENT_STOP_SECONDS, _STOP_SECONDS)
        return teardown.tear_down(launch_id=launch_id, now=database_now(), stop_seconds=seconds)
    finally:
        # Each thread has a connection of its own.
        connection.close()
