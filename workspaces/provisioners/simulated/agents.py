"""A simulated agent: plays one launch's script, and calls the registry over HTTP as a real agent does."""

import asyncio
import time
from collections.abc import Iterator, Mapping
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

# As a real agent: sysexits' "protocol"; what may be answered differently later.
EXIT_REFUSED = 76
_LATER = frozenset({408, 409, 425, 429})
_LONGEST_PAUSE_SECONDS = 30.0
_USUAL_HEARTBEAT_SECONDS = 30.0
SICK_ERROR_RATE = 0.7


class AgentExited(Exception):
    """The agent's process ends, with this exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class SimulatedAgent:
    """One launch's agent. What it has done is kept at its backend, so that another simulator can go on."""

    def __init__(
        self, key: LaunchKey, played: SimulatedLaunch, *, backend: SimulatedProvisioner, http: httpx.AsyncClient
    ) -> None:
        simulation = parse_simulation(played.config)
        self._key = key
        self._played = played
        self._backend = backend
        self._http = http
        seed = key.workspace_id if simulation.seed is None else simulation.seed
        self._random = Random(f"{seed}/{played.attempt}")  # noqa: S311 (nobody is to be kept from guessing)
        self._behaviour = simulation.behaviour_in(played.attempt)
        steps = [step for step, _ in rules.boot_steps(played.config)]
        self.script: Script = write_script(simulation, steps=steps, attempt=played.attempt, random=self._random)
        self._done = played.acts_done

    async def live(self) -> None:
        """Boot and beat. Returns when its process ended, or when it has no more to say."""
        try:
            for act in self.script.boot[self._done :]:
                await self._wait_for(act)
                await self._do(act)
                self._keep(self._done + 1)
            await self._beat()
        except AgentExited as end:
            self._say(f"Ends with exit code {end.exit_code}.")
            self._backend.simulate_exit(self._key, exit_code=end.exit_code)

    async def _wait_for(self, act: ScheduledAction) -> None:
        await asyncio.sleep(max(0.0, self._played.started_at + act.at_seconds - time.time()))

    async def _do(self, act: ScheduledAction) -> None:
        match act.action:
            case Action.PROGRESS:
                self._say(f"Boot step '{act.text}' begins.")
                await self._post("progress", {"step": act.text})
            case Action.REGISTER:
                await self._register()
            case Action.REGISTER_TWICE:
                await self._register_twice()
            case Action.REGISTER_UNHEARD:
                await self._post("register", self._registration())
                self._say("No answer to the registration; trying again.")
            case Action.FAIL:
                self._say(act.text)
                await self._post("failed", {"code": "crashed", "error": act.text, "log_tail": self._log()})
                raise AgentExited(act.exit_code)
            case Action.END:
                self._say(act.text)
                raise AgentExited(act.exit_code)

    async def _register(self) -> None:
        for pause in self._pauses():
            answer = await self._post("register", self._registration())
            if answer is not None and answer.status_code == HTTPStatus.OK:
                self._say("Registered.")
                return
            is_final = answer is not None and answer.status_code < 500 and answer.status_code not in _LATER
            if answer is not None and is_final:
                self._say(f"The platform refuses this workspace's registration: {answer.text}")
                raise AgentExited(EXIT_REFUSED)
            await asyncio.sleep(pause)

    async def _register_twice(self) -> None:
        # Where one ends the process, the other ends with it.
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._register())
                both.create_task(self._register())
        except ExceptionGroup as ends:
            raise ends.exceptions[0] from None

    async def _beat(self) -> None:
        script, beat = self.script, self._done - len(self.script.boot)
        while script.beats is None or beat < script.beats:
            await asyncio.sleep(self._heartbeat_seconds)
            await self._post("heartbeat", self._condition(beat))
            beat += 1
            if script.beats is not None:
                self._keep(self._done + 1)
        if script.exit_code is not None:
            raise AgentExited(script.exit_code)

    # --- What it says ----------------------------------------------------------------------------

    def _registration(self) -> dict[str, Any]:
        config = self._played.config
        card = {"name": config.get("name") or "simulated", "runtime": rules.runtime_of(config)}
        note = f"Simulated: {self._behaviour}."
        return {"id": str(self._key.workspace_id), "url": self._played.url, "agent_card": {**card, "note": note}}

    def _condition(self, beat: int) -> dict[str, Any]:
        is_sick = self.script.is_sick_at(beat)
        return {
            "uptime_seconds": max(0, int(self._now() - self._played.started_at)),
            "error_rate": SICK_ERROR_RATE if is_sick else 0.0,
            "sample_error": "upstream answered 503" if is_sick else "",
            "active_tasks": 0,
            "current_task": "",
        }

    async def _post(self, call: str, fields: Mapping[str, Any]) -> httpx.Response | None:
        """Send one call; None where no answer came. Raises Ended where the platform has no more use for it."""
        if self._random.random() < self.script.loss:
            return None
        body = fields if call == "register" else {"workspace_id": str(self._key.workspace_id), **fields}
        platform = self._played.environment["PLATFORM_URL"]
        credential = {"Authorization": f"Bearer {self._played.token}"}
        try:
            answer = await self._http.post(f"{platform}/registry/{call}", json=body, headers=credential)
        except httpx.HTTPError:
            return None
        if answer.status_code >= 400 and _code(answer) in {"superseded", "removed"}:
            self._say(f"The platform answered {_code(answer)} to {call}.")
            raise AgentExited(0)
        return answer

    def _pauses(self) -> Iterator[float]:
        pause = 1.0
        while True:
            yield pause * self._random.uniform(0.75, 1)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    @property
    def _heartbeat_seconds(self) -> float:
        return float(self._played.environment.get("HEARTBEAT_INTERVAL_SECONDS", _USUAL_HEARTBEAT_SECONDS))

    def _now(self) -> float:
        return time.time() + self.script.clock_offset_seconds

    def _say(self, text: str) -> None:
        at = datetime.fromtimestamp(self._now(), tz=UTC)
        self._backend.append_log(self._key, f"{at:%Y-%m-%dT%H:%M:%SZ} agent: {text}\n")

    def _log(self) -> str:
        return self._backend.inspect(self._key).log_tail

    def _keep(self, done: int) -> None:
        self._done = done
        self._backend.save_progress(self._key, acts_done=done)


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json().get("code", ""))
    except ValueError:
        return ""
