"""`make up` from its first child to its last: start, tell the operator, keep running, stop."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import httpx
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from devserver import children, first_run, local_environment
from devserver.console import Console
from devserver.servers.embedded import LOCALHOST
from devserver.stop_workspaces import stop_workspaces
from devserver.supervisor import Child, Supervisor
from postgres.clock import database_now
from workspaces import tasks
from workspaces.models import BackendKind
from workspaces.services.launching.resume_after_shutdown import resume_after_shutdown

_TICK_SECONDS = 0.2
_WEB_PATIENCE_SECONDS = 60.0
# Together with the servers' and the workspaces' own, these stay below the ten seconds that a stop may take.
_WORKER_STOP_SECONDS = 2.0
_WEB_STOP_SECONDS = 1.0
_RESET = f".venv/bin/python manage.py changepassword {first_run.OPERATOR}"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ForcedStop(Exception):
    """The operator asked a second time: no more waiting."""


class DevServer:
    """One run of Slipway on this machine."""

    def __init__(self, *, port: int, resumes: bool, creates_first: bool, console: Console) -> None:
        self.port = port
        self.resumes = resumes
        self.creates_first = creates_first
        self.console = console
        self.supervisor = Supervisor(console=console)
        self.back: list[Child] = [children.beat(console=console), *children.workers(console=console)]
        if settings.PROVISIONER == BackendKind.SIMULATED:
            self.back.append(children.simulator(console=console))
        # They stop last, so that what the stop of the workspaces leads to is told, too.
        self.front: list[Child] = [
            children.web(port=port, console=console),
            children.relay(console=console),
            children.deliver(console=console),
        ]
        self._stop = threading.Event()
        self._is_forced = False

    def run(self) -> None:
        """Run until a signal says stop, then stop everything."""
        call_command("migrate", interactive=False, verbosity=0)
        with self._signals():
            try:
                self._start()
                self._keep_running()
            finally:
                self._end()

    # --- Start -----------------------------------------------------------------------------------

    def _start(self) -> None:
        if local_environment.local_servers:
            for server in local_environment.local_servers.servers:
                self.supervisor.adopt(server)
        self.supervisor.start([*self.front, *self.back])

    def _keep_running(self) -> None:
        for _ in self._story():
            self.supervisor.tick()
            # The signal for a closed terminal reaches the session's first process only, which may be make.
            if self._stop.wait(_TICK_SECONDS) or self.console.has_lost_terminal:
                return

    def _story(self) -> Iterator[None]:
        """Tell the operator what happens; yields whenever there is time to look after the children."""
        yield from self._until_web_answers()
        if local_environment.local_servers:
            local_environment.local_servers.announce_ready()
        yield from self._scenes()
        while True:
            yield

    def _scenes(self) -> Iterator[None]:
        """Tell what is special about this run, once all of it is up."""
        yield from self._launch_workspaces()
        self._summarise(password=first_run.create_operator())

    def _until_web_answers(self) -> Iterator[None]:
        limit = time.monotonic() + _WEB_PATIENCE_SECONDS
        while not _answers(f"http://{LOCALHOST}:{self.port}/health"):
            if time.monotonic() > limit:
                self.console.say(f"The web server does not answer on port {self.port} yet; its lines above say why.")
                return
            yield

    def _launch_workspaces(self) -> Iterator[None]:
        if self.resumes and (number := _resume()):
            self.console.say(f"Launching {_count(number)} again that the last stop had stopped.")
        if self.creates_first and (workspace := first_run.create_first_workspace()):
            self.console.say("Launching a first workspace:")
            yield from first_run.follow(workspace, console=self.console)

    def _summarise(self, *, password: str | None) -> None:
        account = f"User {first_run.OPERATOR}, password {password} (shown this once)"
        if password is None:
            account = f"User {first_run.OPERATOR}; for a new password: {_RESET}"
        lines = [f"Slipway runs at http://{LOCALHOST}:{self.port}/admin/", account, "Ctrl-C stops everything."]
        self.console.say("\n" + "\n".join(f"  {line}" for line in lines) + "\n")

    # --- Stop ------------------------------------------------------------------------------------

    def _end(self) -> None:
        try:
            self.console.say("Stopping; once more Ctrl-C ends it by force.")
            self.supervisor.end(self.back, seconds=_WORKER_STOP_SECONDS)
            self._stop_workspaces()
        except ForcedStop:
            self.supervisor.end(self.back, seconds=0)
            self._stop_workspaces()
        finally:
            self.supervisor.end(self.front, seconds=0 if self._is_forced else _WEB_STOP_SECONDS)
        self.console.say("Stopped.")

    def _stop_workspaces(self) -> None:
        # Ours may have ended with an earlier life of the server.
        connection.close()
        try:
            stopped, left = stop_workspaces()
        except DatabaseError as error:
            self.console.say(f"The workspaces could not be stopped, the database is away: {error}")
            return
        if stopped:
            self.console.say(f"Stopped {_count(stopped)}; the next `make up` launches what ran again.")
        if left:
            self.console.say(f"Could not confirm the stop of {_count(left)}; the next run tries again.")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def on_signal(_number: int, _frame: FrameType | None) -> None:
            if self._stop.is_set() and not self._is_forced:
                self._is_forced = True
                raise ForcedStop
            self._stop.set()

        before = {number: signal.signal(number, on_signal) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@transaction.atomic
def _resume() -> int:
    resumed = resume_after_shutdown(now=database_now())
    for workspace in resumed:
        tasks.enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)
    return len(resumed)


def _count(number: int) -> str:
    return "1 workspace" if number == 1 else f"{number} workspaces"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False
