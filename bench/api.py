"""Compare calls of the API with the least that does the same: `python -m bench.api [--json]`.

A create and a register are compared with a bare Django view that validates the same body and stores the rows without
which there is none, on a server of the same kind with the same workers; a list with the time in which Django turns its
dicts into JSON, and a page of a large fleet with that of a small one.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle
from statistics import median
from typing import Any

from django.http import JsonResponse

from bench import http_load
from bench.harness import Better, Meter, Ratio, main
from bench.installation import running_web
from bench.large_fleet import boot_again, delete_fleet, insert_fleet
from bench.servers import start_servers

SECONDS = 3.0
ROUNDS = 7
# More than register within SECONDS, since only the first time brings a workspace online.
REGISTERING = 4000
LISTED, FLEET, PAGE = 1000, 30_000, 100
# How often a list is read for one figure.
READS = 9
CREATE = {"name": "bench", "config": json.dumps({"name": "bench", "runtime": "bench"}), "restart_policy": "never"}
CARD = {"name": "bench", "version": "1", "skills": ["a", "b", "c"]}

Measure = Callable[[], float]


def measure(meter: Meter) -> Iterator[Ratio]:
    """Run all measurements with two servers."""
    start_servers()
    from workspaces.access.api_keys import mint_api_key

    _, key = mint_api_key(name="bench", scopes=["operate"])
    with running_web("config.wsgi:application") as slipway, running_web("bench.bare_site:application") as bare:
        for connections in (16, 1):
            yield _creates(meter, connections, key=key, slipway=slipway, bare=bare)
        for connections in (16, 1):
            yield _registers(meter, connections, slipway=slipway, bare=bare)
        yield _list(meter, key=key, slipway=slipway)
        yield _pages(meter, key=key, slipway=slipway)


def _creates(meter: Meter, connections: int, *, key: str, slipway: int, bare: int) -> Ratio:
    """Compare creates. Nothing takes the launches from their queue, so that most creates find it full."""

    def created(port: int) -> float:
        delete_fleet()
        one = http_load.request("/workspaces", port=port, token=key, body=json.dumps(CREATE).encode())
        return _milliseconds(port, [cycle([one])] * connections)

    name = f"POST /workspaces over {connections} connections : a bare view with one INSERT"
    return _compare(meter, name, limit=lambda: created(bare), ours=lambda: created(slipway), goal=4)


def _registers(meter: Meter, connections: int, *, slipway: int, bare: int) -> Ratio:
    """Compare the registers that bring workspaces online."""
    from workspaces.access.tokens import mint_agent_token
    from workspaces.models import Workspace

    delete_fleet()
    insert_fleet(rows=REGISTERING, provisioning=REGISTERING)
    tokens = {str(workspace.pk): mint_agent_token(workspace) for workspace in Workspace.objects.all()}

    def registered(port: int, path: str) -> float:
        boot_again()
        requests = [
            http_load.request(
                path.format(id=workspace_id),
                port=port,
                token=token,
                body=json.dumps({"id": workspace_id, "url": "http://127.0.0.1:4000", "agent_card": CARD}).encode(),
            )
            for workspace_id, token in tokens.items()
        ]
        return _milliseconds(port, [requests[number::connections] for number in range(connections)])

    return _compare(
        meter,
        f"POST /registry/register over {connections} connections : a bare view with one UPDATE and one INSERT",
        limit=lambda: registered(bare, "/register/{id}"),
        ours=lambda: registered(slipway, "/registry/register"),
        goal=2.5,
    )


def _list(meter: Meter, *, key: str, slipway: int) -> Ratio:
    """Compare a list with the time that Django takes to turn the same dicts into JSON, and nothing else."""
    from workspaces.api.serialize import select_for_json, workspace_json
    from workspaces.deadlines.policy import current_policy
    from workspaces.models import Workspace

    delete_fleet()
    insert_fleet(rows=LISTED, provisioning=LISTED // 10)
    policy = current_policy()
    rows = [workspace_json(row, policy=policy, positions={}) for row in select_for_json(Workspace.objects.all())]

    def serialised() -> float:
        return _median_milliseconds(lambda: JsonResponse(rows, safe=False))

    return _compare(
        meter,
        f"GET /workspaces of {LISTED:,} : the same dicts in a JsonResponse of Django",
        limit=serialised,
        ours=lambda: _read("/workspaces", port=slipway, key=key, rows=LISTED),
        goal=3,
    )


def _pages(meter: Meter, *, key: str, slipway: int) -> Ratio:
    """Compare a page of a large fleet with the same page of a small one."""

    def page(fleet: int) -> float:
        delete_fleet()
        insert_fleet(rows=fleet, provisioning=0)
        return _read(f"/workspaces?limit={PAGE}", port=slipway, key=key, rows=PAGE)

    name = f"GET /workspaces?limit={PAGE} of {FLEET:,} : of {LISTED:,}"
    return _compare(meter, name, limit=lambda: page(LISTED), ours=lambda: page(FLEET), goal=1.2)


def _compare(meter: Meter, name: str, *, limit: Measure, ours: Measure, goal: float) -> Ratio:
    return meter.compare(name, limit=limit, ours=ours, goal=goal, better=Better.LOWER, rounds=ROUNDS, unit="ms")


def _milliseconds(port: int, connections: Sequence[Iterable[bytes]]) -> float:
    return 1000 / http_load.load(port, connections, seconds=SECONDS).per_second


def _read(path: str, *, port: int, key: str, rows: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def read() -> bytes:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().read()

    if (found := len(json.loads(read()))) != rows:
        raise RuntimeError(f"{path} listed {found} workspaces instead of {rows}.")
    taken = _median_milliseconds(read)
    connection.close()
    return taken


def _median_milliseconds(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(READS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times) * 1000


SUITES = (measure,)

if __name__ == "__main__":
    main(SUITES)
