"""A simulated agent: play the script of one launch and call the registry over HTTP, as a real agent does."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from random import Random
from typing import Any

import httpx

from agent import rules
from workspaces.provisioners.base import LaunchKey
from workspaces.provisioners.simulated.behaviours import parse_simulation
from workspaces.provisioners.simulated.provisioner import SimulatedLaunch, SimulatedProvisioner
from workspaces.provisioners.simulated.scripts import Action, ScheduledAction, Script, write_script

# The exit code of a real agent whose registration is refused: EX_PROTOCOL of sysexits.h.
EXIT_REFUSED = 76
# Client errors that may have another answer later.
_RETRIED = frozenset({408, 409, 425, 429})
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 1.0, 30.0
_DEFAULT_HEARTBEAT_SECONDS = 30.0
SICK_ERROR_RATE = 0.7


class AgentExited(Exception):
    """The agent's process ends with this exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class SimulatedAgent:
    """The agent of one launch. The backend keeps what it has done, so that another simulator can continue."""

    def __init__(
        self, key: LaunchKey, launch: SimulatedLaunch, *, backend: SimulatedProvisioner, http: httpx.AsyncClient
    ) -> None:
        simulation = parse_simulation(launch.config)
        self._key = key
        self._launch = launch
        self._backend = backend
        self._http = http
        seed = key.workspace_id if simulation.seed is None else simulation.seed
        self._random = Random(f"{seed}/{launch.attempt}")  # noqa: S311 (no secret depends on it)
        self._behaviour = simulation.behaviour_in(launch.attempt)
        steps = [step for step, _ in rules.boot_steps(launch.config)]
        self.script: Script = write_script(simulation, steps=steps, attempt=launch.attempt, random=self._random)
        self._done = launch.acts_done

    async def run(self) -> None:
        """Boot and send heartbeats. Return when the process ended or the agent has nothing more to send."""
        try:
            for action in self.script.boot[self._done :]:
                await asyncio.sleep(max(0.0, self._launch.started_at + action.at_seconds - time.time()))
                await self._perform(action)
                self._save_progress(self._done + 1)
            await self._send_heartbeats()
        except AgentExited as end:
            self._log(f"Ends with exit code {end.exit_code}.")
            self._backend.simulate_exit(self._key, exit_code=end.exit_code)

    async def _perform(self, scheduled: ScheduledAction) -> None:
        match scheduled.action:
            case Action.PROGRESS:
                self._log(f"Boot step '{scheduled.text}' begins.")
                await self._post("progress", {"step": scheduled.text})
            case Action.REGISTER:
                await self._register()
            case Action.REGISTER_TWICE:
                # If one of them ends the process, the other one ends too.
                try:
                    async with asyncio.TaskGroup() as both:
                        both.create_task(self._register())
                        both.create_task(self._register())
                except ExceptionGroup as ends:
                    raise ends.exceptions[0] from None
            case Action.REGISTER_UNHEARD:
                await self._post("register", self._registration())
                self._log("No answer to the registration; trying again.")
            case Action.FAIL:
                self._log(scheduled.text)
                log_tail = self._backend.inspect(self._key).log_tail
                await self._post("failed", {"code": "crashed", "error": scheduled.text, "log_tail": log_tail})
                raise AgentExited(scheduled.exit_code)
            case Action.END:
                self._log(scheduled.text)
                raise AgentExited(scheduled.exit_code)

    async def _register(self) -> None:
        """Register until the platform accepts it. Raises AgentExited if the platform refuses it for good."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            wait = pause * self._random.uniform(0.75, 1)
            answer = await self._post("register", self._registration())
            if answer is not None and answer.status_code == HTTPStatus.OK:
                self._log("Registered.")
                return
            if answer is not None and answer.status_code < 500 and answer.status_code not in _RETRIED:
                self._log(f"The platform refuses this workspace's registration: {answer.text}")
                raise AgentExited(EXIT_REFUSED)
            await asyncio.sleep(wait)
            pause = min(pause * 2, _MAX_PAUSE_SECONDS)

    async def _send_heartbeats(self) -> None:
        interval = float(self._launch.environment.get("HEARTBEAT_INTERVAL_SECONDS", _DEFAULT_HEARTBEAT_SECONDS))
        script, beat = self.script, self._done - len(self.script.boot)
        while script.beats is None or beat < script.beats:
            await asyncio.sleep(interval)
            is_sick = script.is_sick_at(beat)
            heartbeat = {
                "uptime_seconds": max(0, int(self._now() - self._launch.started_at)),
                "error_rate": SICK_ERROR_RATE if is_sick else 0.0,
                "sample_error": "upstream answered 503" if is_sick else "",
                "active_tasks": 0,
                "current_task": "",
            }
            await self._post("heartbeat", heartbeat)
            beat += 1
            if script.beats is not None:
                self._save_progress(self._done + 1)
        if script.exit_code is not None:
            raise AgentExited(script.exit_code)

    def _registration(self) -> dict[str, Any]:
        config = self._launch.config
        card = {"name": config.get("name") or "simulated", "runtime": rules.runtime_of(config)}
        note = f"Simulated: {self._behaviour}."
        return {"id": str(self._key.workspace_id), "url": self._launch.url, "agent_card": {**card, "note": note}}

    async def _post(self, call: str, fields: Mapping[str, Any]) -> httpx.Response | None:
        """Send one call and return the answer, or None if there is none.

        Raises AgentExited if the platform says that the launch is superseded or the workspace removed.
        """
        if self._random.random() < self.script.loss:
            return None
        body = fields if call == "register" else {"workspace_id": str(self._key.workspace_id), **fields}
        platform = self._launch.environment["PLATFORM_URL"]
        credential = {"Authorization": f"Bearer {self._launch.token}"}
        try:
            answer = await self._http.post(f"{platform}/registry/{call}", json=body, headers=credential)
        except httpx.HTTPError:
            return None
        if answer.status_code >= 400 and _code(answer) in {"superseded", "removed"}:
            self._log(f"The platform answered {_code(answer)} to {call}.")
            raise AgentExited(0)
        return answer

    def _now(self) -> float:
        return time.time() + self.script.clock_offset_seconds

    def _log(self, text: str) -> None:
        at = datetime.fromtimestamp(self._now(), tz=UTC)
        self._backend.append_log(self._key, f"{at:%Y-%m-%dT%H:%M:%SZ} agent: {text}\n")

    def _save_progress(self, done: int) -> None:
        self._done = done
        self._backend.save_progress(self._key, acts_done=done)


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("code", ""))
    except ValueError:
        return ""
