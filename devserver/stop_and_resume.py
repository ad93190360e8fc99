"""Pauses the workspaces of this machine when `make up` stops, and launches them again at its next start."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from postgres.clock import database_now
from workspaces import tasks
from workspaces.models import Launch
from workspaces.provisioners.base import LaunchKey, ProvisionerError
from workspaces.provisioners.guarded_calls import call
from workspaces.services.launching.resume_after_shutdown import resume_after_shutdown
from workspaces.services.stopping import shutdown, teardown

logger = logging.getLogger(__name__)

_THREADS = 32
# `make up` must end within ten seconds, even if AGENT_STOP_SECONDS allows a single stop more, or if some hang. Its
# servers need the rest (devserver/up.py).
_ALL_SECONDS = 6.0
# A forced stop still pauses the workspaces, if that takes no longer.
_FORCED_PAUSE_SECONDS = 1.0
_REQUEST_SECONDS = 1.0
_STOP_SECONDS = 4.0
_TICK_SECONDS = 0.05


def stop_workspaces(*, is_forced: Callable[[], bool] = lambda: False) -> tuple[list[Launch], list[Launch]]:
    """Pause every running workspace and stop it. Return the launches that have stopped, and those left.

    Those that hang are left after a limit, or once the stop is forced; the next start finds them. Raises TimeoutError
    if the database does not pause them in that time.
    """
    ends_at = time.monotonic() + _ALL_SECONDS
    launches = pause_workspaces(ends_at=ends_at, is_forced=is_forced)
    stop_seconds = min(settings.AGENT_STOP_SECONDS, _STOP_SECONDS)
    stopped: set[UUID] = set()
    over = threading.Event()

    def tear_down(launch: Launch) -> None:
        if teardown.tear_down(launch_id=launch.pk, now=database_now(), stop_seconds=stop_seconds):
            stopped.add(launch.pk)

    request_stops(launches, over=over, ends_at=ends_at)
    _act_on_each(launches, tear_down, over=over, ends_at=ends_at, is_forced=is_forced)
    over.set()
    done = stopped.copy()
    return [each for each in launches if each.pk in done], [each for each in launches if each.pk not in done]


def pause_workspaces(*, ends_at: float, is_forced: Callable[[], bool]) -> list[Launch]:
    """Pause every running workspace and return the launches to stop. Raises TimeoutError at the end, or soon if forced.

    What the database does not do in time goes on in a thread that does not keep this process from ending.
    """
    paused: Future[list[Launch]] = Future()

    def pause() -> None:
        try:
            launches = shutdown.pause_all_for_shutdown(now=database_now())
        except Exception as error:  # noqa: BLE001 (raised again in the caller's thread)
            paused.set_exception(error)
        else:
            paused.set_result(launches)
        finally:
            connection.close()

    forced_ends_at = time.monotonic() + _FORCED_PAUSE_SECONDS
    threading.Thread(target=pause, daemon=True).start()
    while not paused.done():
        if time.monotonic() >= (forced_ends_at if is_forced() else ends_at):
            raise TimeoutError("it did not answer in time.")
        time.sleep(_TICK_SECONDS)
    return paused.result()


def request_stops(launches: Sequence[Launch], *, over: threading.Event, ends_at: float) -> None:
    """Ask all launches to stop before any is waited for, so that they stop at the same time."""

    def request(launch: Launch) -> None:
        key = LaunchKey(workspace_id=launch.workspace_id, launch_id=launch.pk)
        try:
            call(
                launch.backend, "request_stop", key, lambda backend: backend.request_stop(key), seconds=_REQUEST_SECONDS
            )
        except ProvisionerError:
            # The teardown asks again and records the error.
            return

    _act_on_each(launches, request, over=over, ends_at=min(ends_at, time.monotonic() + _REQUEST_SECONDS))


def _act_on_each(
    launches: Sequence[Launch],
    act: Callable[[Launch], None],
    *,
    over: threading.Event,
    ends_at: float,
    is_forced: Callable[[], bool] = lambda: False,
) -> None:
    """Act on each launch, several at once, whatever one of them raises; wait until the end, or until forced.

    What still hangs then does so in threads that don't keep this process from ending. They begin nothing once it is
    over.
    """
    waiting: queue.SimpleQueue[Launch] = queue.SimpleQueue()
    for launch in launches:
        waiting.put(launch)

    def work() -> None:
        try:
            while not over.is_set():
                launch = waiting.get_nowait()
                try:
                    act(launch)
                except Exception:
                    logger.exception("A workspace could not be stopped", extra={"launch_id": launch.pk})
        except queue.Empty:
            return
        finally:
            # Each thread has its own connection.
            connection.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in launches[:_THREADS]]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and time.monotonic() < ends_at and not is_forced():
        time.sleep(_TICK_SECONDS)


def resume_workspaces() -> int:
    """Launch the workspaces again that the last stop paused; return their number."""
    with transaction.atomic():
        now = database_now()
        resumed = resume_after_shutdown(now=now)
        for backend in {workspace.backend for workspace in resumed}:
            tasks.enqueue_launches(backend, now=now)
    return len(resumed)
