"""`make up`: start the processes, take the steps of the start, keep running until a signal, stop everything."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import httpx
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError

from devserver import children, first_run, local_environment
from devserver.console import Console
from devserver.servers.embedded import LOCALHOST
from devserver.stop_and_resume import resume_workspaces, stop_workspaces
from devserver.supervisor import Child, Supervisor
from monitoring.checks import check_containment
from workspaces.models import BackendKind

logger = logging.getLogger(__name__)

_TICK_SECONDS = 0.2
# With the time for the servers and the workspaces, a stop must take less than ten seconds.
_WORKER_STOP_SECONDS = 2.0
_WEB_STOP_SECONDS = 1.0
_NEW_PASSWORD = f".venv/bin/python manage.py changepassword {first_run.OPERATOR}"
_SHOWN_NAMES = 10
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ForcedStop(Exception):
    """A second signal came while a step was running: don't wait for the step."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A named part of the start. Its action is called at each tick until the step is done.

    If that takes longer than `patience_seconds`, print `late_message` and go on to the next step.
    """

    name: str
    action: Callable[[], object] = lambda: None
    is_done: Callable[[], bool] = lambda: True
    patience_seconds: float = math.inf
    late_message: str = ""


class DevServer:
    """All processes of Slipway on this machine, from their start to their stop."""

    def __init__(self, *, port: int, console: Console, steps: Sequence[Step], stops_workspaces: bool = True) -> None:
        self.steps = [
            *start_steps(port=port, console=console),
            *steps,
            Step(name="keep running", is_done=lambda: False),
        ]
        self.console = console
        self.stops_workspaces = stops_workspaces
        self.supervisor = Supervisor(console=console)
        self.workers: list[Child] = [children.beat(console=console), *children.workers(console=console)]
        if settings.PROVISIONER == BackendKind.SIMULATED:
            self.workers.append(children.simulator(console=console))
        # These stop last, so that the events of the stop are delivered too.
        self.web_and_events: list[Child] = [
            children.web(port=port, console=console),
            *children.registry(web_port=port, console=console),
            children.relay(console=console),
            children.deliver(console=console),
        ]
        self._folders = [each for each in (settings.BASE_DIR, settings.DATA_DIR) if each.exists()]
        self._stop_requested = threading.Event()
        self._is_forced = False
        self._is_in_step = False

    def run(self) -> None:
        """Run until a signal says stop, then stop everything."""
        call_command("migrate", interactive=False, verbosity=0)
        with self._signals_handled():
            try:
                if local_environment.local_servers:
                    for server in local_environment.local_servers.servers:
                        self.supervisor.watch(server)
                self.supervisor.start([*self.web_and_events, *self.workers])
                self._take_steps()
            except ForcedStop:
                pass
            finally:
                self._stop()

    def _take_steps(self) -> None:
        self._is_in_step = True
        try:
            for step in self.steps:
                logger.debug("step begins", extra={"step": step.name})
                limit = time.monotonic() + step.patience_seconds
                # SIGHUP of a closed terminal reaches only the first process of the session, which may be make.
                while not (self._stop_requested.is_set() or self.console.is_terminal_closed or self.lost_folder):
                    step.action()
                    if step.is_done():
                        break
                    if time.monotonic() > limit:
                        self.console.write(step.late_message)
                        break
                    self.supervisor.tick()
                    for server in local_environment.local_servers.servers if local_environment.local_servers else ():
                        server.rotate_log()
                    self._stop_requested.wait(_TICK_SECONDS)
        finally:
            self._is_in_step = False

    @property
    def lost_folder(self) -> Path | None:
        """Return the folder of the code or of the data if it was deleted: nothing can be started or stored then."""
        return next((each for each in self._folders if not each.exists()), None)

    def _stop(self) -> None:
        if folder := self.lost_folder:
            self.console.write(f"{folder} was deleted.")
        self.console.write("Stopping. Press Ctrl-C again to stop by force.")
        try:
            self.supervisor.stop(self.workers, seconds=_WORKER_STOP_SECONDS, is_forced=lambda: self._is_forced)
            if self.stops_workspaces:
                self._stop_workspaces()
        finally:
            self.supervisor.stop(self.web_and_events, seconds=_WEB_STOP_SECONDS, is_forced=lambda: self._is_forced)
        self.console.write("Stopped.")

    def _stop_workspaces(self) -> None:
        try:
            stopped, left = stop_workspaces(is_forced=lambda: self._is_forced)
        except (DatabaseError, TimeoutError) as error:
            self.console.write(f"The workspaces could not be stopped, since the database can't be reached: {error}")
            return
        except Exception as error:
            # What stops after the workspaces must be stopped too.
            logger.exception("The workspaces could not be stopped")
            self.console.write(f"The workspaces could not be stopped ({type(error).__name__}); the log says why.")
            return
        if stopped:
            self.console.write(f"Stopped {_count(len(stopped))}, to be launched again by the next `make up`.")
        if left:
            names = ", ".join(launch.workspace.name for launch in left[:_SHOWN_NAMES])
            more = " and others" if len(left) > _SHOWN_NAMES else ""
            what = f"the stop of {_count(len(left))} ({names}{more})"
            self.console.write(f"Could not confirm {what}; the next run tries again.")

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        """Request a stop at the first signal and force it at the second."""

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            if not self._stop_requested.is_set():
                self._stop_requested.set()
            elif not self._is_forced:
                self._is_forced = True
                if self._is_in_step:
                    raise ForcedStop

        before = {number: signal.signal(number, on_signal) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


# --- The steps -----------------------------------------------------------------------------------


def start_steps(*, port: int, console: Console) -> list[Step]:
    """Return the first steps of each start: wait for the web server, then let other commands use the servers."""

    def web_answers() -> bool:
        try:
            return httpx.get(f"http://{LOCALHOST}:{port}/health", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def announce_ready() -> None:
        if local_environment.local_servers:
            local_environment.local_servers.announce_ready()

    return [
        Step(
            name="wait for the web server",
            is_done=web_answers,
            patience_seconds=60,
            late_message=f"The web server does not answer on port {port} yet; see its lines above for the reason.",
        ),
        Step(name="let other commands use the servers", action=announce_ready),
    ]


def up_steps(*, port: int, console: Console, resumes: bool, creates_first: bool) -> list[Step]:
    """Return the further steps of `make up`: launch workspaces, then print the address and the account."""
    first = first_run.FirstWorkspace(console=console)

    def resume() -> None:
        if number := resume_workspaces():
            console.write(f"Launching {_count(number)} again that the last stop had stopped.")

    def print_summary() -> None:
        account = f"User {first_run.OPERATOR}; for a new password: {_NEW_PASSWORD}"
        if password := first_run.create_operator():
            account = f"User {first_run.OPERATOR}, password {password} (shown this once)"
        warnings = [f"{each.msg} {each.hint}" for each in check_containment()]
        lines = [f"Slipway runs at http://{LOCALHOST}:{port}/admin/", account, *warnings, "Ctrl-C stops everything."]
        console.write("\n" + "\n".join(f"  {line}" for line in lines) + "\n")

    follow = Step(
        name="show the launch",
        action=first.report,
        is_done=lambda: first.has_booted,
        patience_seconds=120,
        late_message="  It is still booting; the admin shows how far it is.",
    )
    return [
        *([Step(name="launch paused workspaces again", action=resume)] if resumes else []),
        *([Step(name="create a first workspace", action=first.create), follow] if creates_first else []),
        Step(name="print address and account", action=print_summary),
    ]


def _count(number: int) -> str:
    return "1 workspace" if number == 1 else f"{number} workspaces"
