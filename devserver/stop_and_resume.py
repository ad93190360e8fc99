"""Pauses the workspaces of this machine when `make up` stops, and launches them again at its next start."""

from concurrent.futures import ThreadPoolExecutor

from django.conf import settings
from django.db import connection, transaction

from postgres.clock import database_now
from workspaces import tasks
from workspaces.models import Launch
from workspaces.provisioners.base import LaunchKey, ProvisionerError
from workspaces.provisioners.registry import get_provisioner
from workspaces.services.launching.resume_after_shutdown import resume_after_shutdown
from workspaces.services.stopping import shutdown, teardown

_THREADS = 32
# `make up` must end within ten seconds, even if AGENT_STOP_SECONDS allows a single stop more.
_STOP_SECONDS = 4.0


def stop_workspaces() -> tuple[int, int]:
    """Pause every running workspace and stop it. Return how many have stopped and how many have not."""
    launches = shutdown.pause_all_for_shutdown(now=database_now())
    stop_seconds = min(settings.AGENT_STOP_SECONDS, _STOP_SECONDS)

    def tear_down(launch: Launch) -> bool:
        try:
            return teardown.tear_down(launch_id=launch.pk, now=database_now(), stop_seconds=stop_seconds)
        finally:
            # Each thread has its own connection.
            connection.close()

    request_stops(launches)
    with ThreadPoolExecutor(max_workers=_THREADS) as pool:
        has_stopped = list(pool.map(tear_down, launches))
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


def resume_workspaces() -> int:
    """Launch the workspaces again that the last stop paused; return their number."""
    with transaction.atomic():
        now = database_now()
        resumed = resume_after_shutdown(now=now)
        for backend in {workspace.backend for workspace in resumed}:
            tasks.enqueue_launches(backend, now=now)
    return len(resumed)
