"""Fifty workspaces at once, against a bare Popen of the same agents: `python -m bench.launch [--json]`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench import processor_time
from bench.harness import Better, Meter, Ratio, Suite, main
from bench.installation import Installation, running_installation
from bench.servers import start_servers

WORKSPACES = 50
ROUNDS = 5
# The agent as it is started plainly, without Slipway.
AGENT = Path(__file__).parent.parent / "agent"
# No command: the agent registers as soon as it has read this.
CONFIG = {"name": "bench", "runtime": "bench"}
_PATIENCE_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Milliseconds of processor time that one launch took: by the part of Slipway, and of its own processes."""

    parts: dict[str, float]
    supervisor: float
    agent: float

    @property
    def ours(self) -> float:
        return self.parts["web"] + self.parts["launch"] + self.parts["sweep"]


@dataclass
class Turns:
    """What was seen beside the times."""

    costs: list[Cost] = field(default_factory=list)
    bare_agents: list[float] = field(default_factory=list)
    bare_starts: list[float] = field(default_factory=list)


def measure(meter: Meter) -> Iterator[Ratio]:
    """Yield the ratios of issue 4 that concern a launch."""
    folder = start_servers()
    turns = Turns()
    with _stub() as stub, running_installation(DATA_DIR=str(folder / "launch")) as slipway:
        bare = BareAgents(folder / "bare", url=stub)
        yield meter.compare(
            f"{WORKSPACES} workspaces online : {WORKSPACES} bare agents",
            limit=lambda: bare.seconds(turns),
            ours=lambda: _seconds(slipway, turns),
            goal=2.0,
            better=Better.LOWER,
            rounds=ROUNDS,
            unit="seconds",
        )
    yield _processor_time(turns)
    yield _own_processes(turns)


def _processor_time(turns: Turns) -> Ratio:
    costs, starts = turns.costs[1:], turns.bare_starts[1:]
    parts = {name: round(median(cost.parts[name] for cost in costs), 2) for name in costs[0].parts}
    return Ratio(
        name="processor time of web and workers per launch : one bare start of the interpreter",
        ratio=round(median(cost.ours / start for cost, start in zip(costs, starts, strict=True)), 3),
        goal=2.0,
        better=Better.LOWER,
        figures={
            "ours": round(median(cost.ours for cost in costs), 2),
            "limit": round(median(starts), 2),
            "unit": "ms",
            "rounds": len(costs),
            **parts,
        },
    )


def _own_processes(turns: Turns) -> Ratio:
    """Compare supervisor and agent with a bare agent and one more start of the interpreter."""
    start, bare = median(turns.bare_starts[1:]), median(turns.bare_agents[1:])
    together = median(cost.supervisor + cost.agent for cost in turns.costs[1:])
    supervisor = median(cost.supervisor for cost in turns.costs[1:])
    return Ratio(
        name="supervisor and agent : a bare agent and a bare start of the interpreter",
        ratio=round(together / (bare + start), 3),
        goal=1.2,
        better=Better.LOWER,
        figures={
            "ours": round(together, 2),
            "limit": round(bare + start, 2),
            "unit": "ms",
            "supervisor": round(supervisor, 2),
            "agent": round(together - supervisor, 2),
            "bare_agent": round(bare, 2),
            "bare_start": round(start, 2),
        },
    )


# --- The limit -----------------------------------------------------------------------------------


class BareAgents:
    """Starts the agents as the process backend does, but for all that makes them workspaces."""

    def __init__(self, folder: Path, *, url: str) -> None:
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(CONFIG))
        self._environment = {
            "PATH": os.environ["PATH"],
            "WORKSPACE_CONFIG_PATH": str(folder),
            "WORKSPACE_TOKEN": "x" * 43,
            "PLATFORM_URL": url,
            "PORT": "9",
        }

    def seconds(self, turns: Turns) -> float:
        """Return how long it takes until all are registered."""
        turns.bare_starts.append(_bare_start())
        reader, writer = os.pipe()
        began = time.perf_counter()
        agents = [self._start(number, writer) for number in range(WORKSPACES)]
        os.close(writer)
        _read_until_registered(reader)
        taken = time.perf_counter() - began
        turns.bare_agents.append(sum(processor_time.of_one(agent.pid) for agent in agents) / WORKSPACES)
        for agent in agents:
            agent.kill()
            agent.wait()
        os.close(reader)
        return taken

    def _start(self, number: int, output: int) -> "subprocess.Popen[bytes]":
        environment = {**self._environment, "WORKSPACE_ID": str(number)}
        command = [sys.executable, "-I", "-S", str(AGENT)]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def _read_until_registered(reader: int) -> None:
    registered, said = 0, b""
    while registered < WORKSPACES:
        said += os.read(reader, 65_536)
        lines = said.split(b"\n")
        registered += sum(line.endswith(b"agent: Registered.") for line in lines[:-1])
        said = lines[-1]


def _bare_start() -> float:
    """Return the processor time of `python -c pass`: an interpreter that is started plainly and does nothing."""
    before = sum(os.times()[2:4])
    for _ in range(WORKSPACES):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    return (sum(os.times()[2:4]) - before) / WORKSPACES * 1000


@contextmanager
def _stub() -> Iterator[str]:
    command = [sys.executable, "-m", "bench.fanout.receiver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            yield f"http://127.0.0.1:{(receiver.stdout or sys.stdin).readline().strip()}"
        finally:
            receiver.terminate()


# --- Us ------------------------------------------------------------------------------------------


def _seconds(slipway: Installation, turns: Turns) -> float:
    """Return how long it takes from the first request until all are online; note what it cost, and stop them.

    Stopped, not removed: a file system looks past what was just deleted for a place to create something, so the files
    of a round that were removed would be paid for by the next one.
    """
    body = {"name": "bench", "config": json.dumps(CONFIG), "restart_policy": "never"}
    before = _spent(slipway)
    began = time.perf_counter()
    created = slipway.call([("POST", "/workspaces", body)] * WORKSPACES)
    _wait_until_online()
    taken = time.perf_counter() - began
    turns.costs.append(_cost(before, _spent(slipway), [one["id"] for one in created]))
    slipway.call([("POST", f"/workspaces/{one['id']}/pause", None) for one in created])
    _wait_until_gone()
    return taken


def _wait_until_online() -> None:
    _wait_until("SELECT count(*) FROM workspaces_workspace WHERE status = 'online'", WORKSPACES)


def _wait_until_gone() -> None:
    _wait_until("SELECT count(*) FROM workspaces_launch WHERE torn_down_at IS NULL", 0)


def _wait_until(question: str, number: int) -> None:
    from django.db import connection

    deadline = time.monotonic() + _PATIENCE_SECONDS
    with connection.cursor() as cursor:
        while True:
            cursor.execute(question)
            (found,) = cursor.fetchone()
            if found == number:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{question}: {found} instead of {number}")
            time.sleep(0.01)


def _spent(slipway: Installation) -> dict[str, float]:
    worker = slipway.processes["launch"]
    spent = {name: processor_time.of_trees([pid]) for name, pid in slipway.processes.items() if pid != worker}
    # The worker's children are multiprocessing's: the fork server, whose children fork a supervisor and end.
    children = [child.pid for child in psutil.Process(worker).children()]
    starts = sum(processor_time.of_process(pid) + processor_time.of_ended_children(pid) for pid in children)
    return spent | {"launch": processor_time.of_process(worker), "starts": starts}


def _cost(before: dict[str, float], after: dict[str, float], workspace_ids: list[str]) -> Cost:
    parts = {name: (after[name] - before[name]) / WORKSPACES for name in after}
    starts = parts.pop("starts")
    supervisor, agent = _processes_of_launches(workspace_ids)
    return Cost(parts=parts, supervisor=starts + supervisor, agent=agent)


def _processes_of_launches(workspace_ids: list[str]) -> tuple[float, float]:
    """Return the mean processor time of these workspaces' supervisors, and of their agents."""
    from django.conf import settings

    root = settings.DATA_DIR / "launch" / "workspaces"
    paths = [path for each in workspace_ids for path in (root / ".records" / each).glob("*/process.json")]
    records = [json.loads(path.read_text()) for path in paths]
    pids: dict[str, list[Any]] = {who: [record[who][0] for record in records] for who in ("supervisor", "agent")}
    supervisors, agents = (sum(map(processor_time.of_one, pids[who])) / WORKSPACES for who in ("supervisor", "agent"))
    return supervisors, agents


SUITES: list[Suite] = [measure]

if __name__ == "__main__":
    main(SUITES)
