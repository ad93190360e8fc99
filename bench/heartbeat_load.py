"""Store heartbeats from a process of its own, as a web worker does: `python -m bench.heartbeat_load`.

The process prints a line when it starts, stores heartbeats until its standard input closes, then prints a JSON list of
`[due, took]`, both in seconds of the monotonic clock. The time is measured from when the heartbeat was due, so waiting
for an earlier heartbeat counts.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from uuid import UUID

BEATS_PER_SECOND = 200
THREADS = 4
AGENTS = 500

_PAUSE = THREADS / BEATS_PER_SECOND

HeartbeatTimes = list[tuple[float, float]]


class HeartbeatLoad:
    """Run the process that stores heartbeats from entering the block until `stop` is called."""

    def __enter__(self) -> "HeartbeatLoad":
        command = [sys.executable, "-m", "bench.heartbeat_load"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ)
        next(iter(self._process.stdout or ()))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> HeartbeatTimes:
        """Stop the process and return its heartbeats as `(due, took)`, in seconds."""
        printed, _ = self._process.communicate()
        return [(due, took) for due, took in json.loads(printed)]


def main() -> None:
    """Store heartbeats until standard input closes, then print the times as JSON."""
    import django

    django.setup()
    agents, stopped = list(_agents()), threading.Event()
    taken: HeartbeatTimes = []
    began = time.monotonic()
    threads = [threading.Thread(target=_beat, args=(agents, taken, began, stopped, n)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    print("started", flush=True)  # noqa: T201
    sys.stdin.read()
    stopped.set()
    for thread in threads:
        thread.join()
    json.dump(taken, sys.stdout)


def _agents() -> Iterator[tuple[UUID, str]]:
    """Yield workspaces, each with a token."""
    from workspaces.access.tokens import mint_agent_token
    from workspaces.models import Workspace

    online = Workspace.objects.filter(status="online").order_by("launch_id")
    for workspace in online[:AGENTS]:
        yield workspace.pk, mint_agent_token(workspace)


def _beat(
    agents: list[tuple[UUID, str]], taken: HeartbeatTimes, began: float, stopped: threading.Event, number: int
) -> None:
    from django.db import connection

    from registry.heartbeat import store
    from registry.schemas import HeartbeatIn

    chance = random.Random(number)  # noqa: S311
    due = began + number * _PAUSE / THREADS
    while not stopped.is_set():
        time.sleep(max(0.0, due - time.monotonic()))
        workspace_id, token = chance.choice(agents)
        store(token, HeartbeatIn(workspace_id=workspace_id, error_rate=0.0, uptime_seconds=int(due)))
        taken.append((due, time.monotonic() - due))
        due += _PAUSE
    connection.close()


if __name__ == "__main__":
    main()
