"""Heartbeats as the agents send them, from a process of its own: `python -m bench.beats SECONDS`.

Prints a JSON list of [when it was due, how long it took], both in seconds of the machine's monotonic clock. Each beat
counts from when it was due: one that had to wait for another counts its wait.
"""

import json
import random
import sys
import threading
import time
from collections.abc import Iterator

import django
from django.db import connection

BEATS_PER_SECOND = 200
THREADS = 4
AGENTS = 500


def main(seconds: float) -> None:
    """Beat at the stated rate and print the times."""
    django.setup()
    agents = list(_agents())
    taken: list[tuple[float, float]] = []
    began = time.monotonic() + 0.5
    threads = [threading.Thread(target=_beat, args=(agents, taken, began, seconds, n)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(sorted(taken), sys.stdout)


def _agents() -> Iterator[object]:
    from workspaces.authentication import find_agent
    from workspaces.credentials import mint_agent_token
    from workspaces.models import Workspace

    online = Workspace.objects.filter(status="online").order_by("launch_id")
    for workspace in online[:AGENTS]:
        yield find_agent(mint_agent_token(workspace))


def _beat(agents: list[object], taken: list[tuple[float, float]], began: float, seconds: float, number: int) -> None:
    from registry.services import Beat, heartbeat
    from workspaces.clock import database_now

    chance = random.Random(number)  # noqa: S311
    for turn in range(int(seconds * BEATS_PER_SECOND / THREADS)):
        due = began + (turn + number / THREADS) * THREADS / BEATS_PER_SECOND
        time.sleep(max(0.0, due - time.monotonic()))
        heartbeat(chance.choice(agents), Beat(error_rate=0.0, uptime_seconds=turn), clock=database_now)
        taken.append((due, time.monotonic() - due))
    connection.close()


if __name__ == "__main__":
    main(float(sys.argv[1]))
