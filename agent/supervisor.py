"""The agent's life: preflight, boot steps, the runtime's command, register, heartbeats, a clean end.

A runtime's command counts as up once it has run for one second, since the agent can't know when it is ready. Then the
agent registers. It sends heartbeats only after the first acknowledged register, since a heartbeat alone would complete
the boot. When the command ends, the agent ends with its exit code.
"""

import os
import time
from collections.abc import Iterator, Mapping

from agent import interruption, rules
from agent.child import Child, describe_exit, own_exit_code
from agent.interruption import Stopped
from agent.journal import Journal
from agent.launch import BadLaunch, Launch, read_config, read_launch
from agent.reports import Dismissed, Platform, Refused

# From sysexits.h: EX_CONFIG and EX_PROTOCOL.
EXIT_CONFIG = 78
EXIT_REFUSED = 76
EXIT_CANNOT_START = 127
UP_AFTER_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 30.0
REPORT_ATTEMPTS = 4


def main(environment: Mapping[str, str]) -> int:
    """Run the agent until its work is done and return its exit code."""
    interruption.block_signals()
    journal = Journal()
    try:
        launch = read_launch(environment)
        platform = Platform(launch, journal)
    except (BadLaunch, ValueError) as error:
        journal.say(f"Can't start: {error}")
        return EXIT_CONFIG
    agent = Agent(launch, platform, journal, environment)
    try:
        return agent.run()
    except Stopped as request:
        journal.say(f"Asked to stop by {request}; ending.")
    except Dismissed as reason:
        journal.say(f"Ending: {reason}.")
    finally:
        agent.end()
    return 0


class Agent:
    """One launch's agent. `run` raises Stopped and Dismissed; `end` stops what still runs."""

    def __init__(self, launch: Launch, platform: Platform, journal: Journal, environment: Mapping[str, str]) -> None:
        self._launch = launch
        self._platform = platform
        self._journal = journal
        self._environment = dict(environment)
        self._started_at = time.monotonic()
        self._child: Child | None = None

    def run(self) -> int:
        """Boot, register and beat until the runtime ends; return the exit code."""
        self._journal.say(f"Launch {self._launch.launch_id} of workspace {self._launch.workspace_id} begins.")
        try:
            config = read_config(self._launch.folder)
        except BadLaunch as error:
            return self._fail(EXIT_CONFIG, code="bad_config", error=str(error))
        problems, warnings = rules.check_shape(config)
        for warning in warnings:
            self._journal.say(f"config.json: {warning}.")
        # What can be read of an unusable config may ask for variables, too: everything is said at once.
        readable: Mapping[str, object] = config if isinstance(config, Mapping) else {}
        missing = rules.missing(readable, self._environment)
        sentences = ["config.json is not usable. " + "; ".join(map(str, problems)) + "."] if problems else []
        if missing:
            sentences.append(rules.missing_message(missing, rules.matched_entry(readable)))
        if sentences:
            code = "bad_config" if problems else "missing_env"
            names = rules.missing_names(missing)
            return self._fail(EXIT_CONFIG, code=code, error=" ".join(sentences), missing=names)
        for step, command in rules.boot_steps(readable):
            if exit_code := self._boot(step, command):
                return exit_code
        return self._serve(readable)

    def end(self) -> None:
        """Stop the child that still runs, if any."""
        interruption.ignore_stop_signals()
        if self._child is not None and self._child.exit_code is None:
            self._child.end()
            self._journal.say("The workspace's process is stopped.")

    def _boot(self, step: str, command: str) -> int:
        self._journal.say(f"Boot step '{step}' begins.")
        self._platform.progress(step=step)
        try:
            exit_code = self._start(["/bin/sh", "-c", command]).wait()
        except OSError as error:
            sentence = f"Boot step '{step}' could not be started: {error.strerror}."
            return self._fail(EXIT_CANNOT_START, code="crashed", error=sentence)
        if exit_code:
            sentence = f"Boot step '{step}' {describe_exit(exit_code)}."
            return self._fail(own_exit_code(exit_code), code="crashed", error=sentence)
        self._journal.say(f"Boot step '{step}' is done.")
        return 0

    def _serve(self, config: Mapping[str, object]) -> int:
        command = rules.command_of(config)
        if command:
            try:
                ended = self._start(command).wait(UP_AFTER_SECONDS)
            except OSError as error:
                sentence = f"The runtime's command {command[0]} could not be started: {error.strerror}."
                return self._fail(EXIT_CANNOT_START, code="crashed", error=sentence)
            if ended is not None:
                return self._fail_early(ended)
        try:
            runtime = rules.runtime_of(config)
            # What the agent is, never how it was started: cards are in every event, webhook and chat.
            card = {"name": config.get("name") or runtime, "runtime": runtime, "has_runtime": bool(command)}
            if not command:
                card["note"] = "No runtime command is set: only Slipway's agent runs here."
            ended = self._register(card)
        except Refused as error:
            self._journal.say(f"The platform refuses this workspace's registration: {error}. Ending.")
            return EXIT_REFUSED
        if ended is not None:
            return self._fail_early(ended)
        while (ended := self._pause(self._launch.heartbeat_seconds)) is None:
            uptime: dict[str, object] = {"uptime_seconds": int(time.monotonic() - self._started_at)}
            # Only a runtime knows its tasks and errors, and may report them itself.
            idle = {"error_rate": 0.0, "sample_error": "", "active_tasks": 0, "current_task": ""}
            self._platform.beat(uptime if command else {**uptime, **idle})
        self._journal.say(f"The runtime's command {describe_exit(ended)}.")
        return own_exit_code(ended)

    def _start(self, command: list[str]) -> Child:
        self._child = Child(command, environment=self._environment, journal=self._journal)
        return self._child

    def _register(self, card: dict[str, object]) -> int | None:
        """Register until acknowledged. Return the runtime's exit code if it ends before that."""
        url = f"http://127.0.0.1:{self._launch.port}"
        for delay in _backoff():
            if self._platform.register(url=url, card=card):
                self._journal.say("Registered.")
                return None
            if (ended := self._pause(delay)) is not None:
                return ended
        return None

    def _pause(self, seconds: float) -> int | None:
        """Wait; return the exit code if the runtime ends meanwhile."""
        if self._child is not None and self._child.exit_code is None:
            return self._child.wait(seconds)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            interruption.wait_for_child(deadline)
        return None

    def _fail_early(self, exit_code: int) -> int:
        sentence = f"The runtime's command {describe_exit(exit_code)} before the workspace was registered."
        return self._fail(own_exit_code(exit_code) or 1, code="crashed", error=sentence)

    def _fail(self, exit_code: int, *, code: str, error: str, missing: list[str] | None = None) -> int:
        """Report why to the platform, with a few retries, and return the exit code."""
        self._journal.say(error)
        report: dict[str, object] = {"code": code, "error": error, "log_tail": self._journal.tail()}
        if missing:
            report["missing"] = missing
        delays = _backoff()
        for attempt in range(1, REPORT_ATTEMPTS + 1):
            if self._platform.failed(report) or attempt == REPORT_ATTEMPTS:
                break
            self._pause(next(delays))
        return exit_code


def _backoff() -> Iterator[float]:
    """Yield 1, 2, 4 … 30 seconds, each shortened by up to a quarter so that a fleet does not retry in step."""
    delay = 1.0
    while True:
        yield delay * (1 - int.from_bytes(os.urandom(2), "big") / 65_536 / 4)
        delay = min(delay * 2, LONGEST_BACKOFF_SECONDS)
