"""Heartbeats as the agents send them, stored as a worker process of the web stores them: `python -m bench.heartbeats`.

Says that it begins, beats until its standard input closes, and prints a JSON list of [when it was due, how long it
took], both in seconds of the machine's monotonic clock. Each beat counts from when it was due: one that had to wait for
another counts its wait.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

BEATS_PER_SECOND = 200
THREADS = 4
AGENTS = 500

_PAUSE = THREADS / BEATS_PER_SECOND

Beats = list[tuple[float, float]]


class Beating:
    """A process that beats, from when the block is entered until `stop`."""

    def __enter__(self) -> "Beating":
        command = [sys.executable, "-m", "bench.heartbeats"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=os.environ)
        next(iter(self._process.stdout or ()))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> Beats:
        """End it; return its beats."""
        printed, _ = self._process.communicate()
        return [(due, took) for due, took in json.loads(printed)]


def main() -> None:
    """Beat until nobody wants more, and print the times."""
    import django

    django.setup()
    agents, stopped = list(_agents()), threading.Event()
    taken: Beats = []
    began = time.monotonic()
    threads = [threading.Thread(target=_beat, args=(agents, taken, began, stopped, n)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    print("beating", flush=True)  # noqa: T201
    sys.stdin.read()
    stopped.set()
    for thread in threads:
        thread.join()
    json.dump(taken, sys.stdout)


def _agents() -> Iterator[object]:
    from workspaces.access.authentication import find_agent
    from workspaces.access.tokens import mint_agent_token
    from workspaces.models import Workspace

    online = Workspace.objects.filter(status="online").order_by("launch_id")
    for workspace in online[:AGENTS]:
        yield find_agent(mint_agent_token(workspace))


def _beat(agents: list[object], taken: Beats, began: float, stopped: threading.Event, number: int) -> None:
    from django.db import connection

    from postgres.clock import database_now
    from registry.services import Beat, heartbeat

    chance = random.Random(number)  # noqa: S311
    due = began + number * _PAUSE / THREADS
    while not stopped.is_set():
        time.sleep(max(0.0, due - time.monotonic()))
        heartbeat(chance.choice(agents), Beat(error_rate=0.0, uptime_seconds=int(due)), clock=database_now)
        taken.append((due, time.monotonic() - due))
        due += _PAUSE
    connection.close()


if __name__ == "__main__":
    main()
