"""Compare heartbeats over HTTP with a bare Django view that does one UPDATE: `python -m bench.heartbeat [--json]`.

Both run on a server of the same kind with the same workers. The view's UPDATE is the ORM's, by ID, and commits as ours.
"""

import json
from collections.abc import Iterator
from itertools import cycle
from statistics import median

from bench import http_load
from bench.harness import Better, Meter, Ratio, main
from bench.http_load import Load
from bench.installation import running_web
from bench.large_fleet import delete_fleet, insert_fleet
from bench.servers import start_servers

AGENTS = 64
SECONDS = 3.0
ROUNDS = 7
# What the public runtime sends at each heartbeat of an idle workspace.
REPORT = {"error_rate": 0.0, "sample_error": "", "active_tasks": 0, "uptime_seconds": 3600, "current_task": ""}
# The stored texts are masked, so these cost more.
BUSY = {**REPORT, "active_tasks": 2, "current_task": "Summarise the release notes of last week"}


def measure(meter: Meter) -> Iterator[Ratio]:
    """Run all measurements with one fleet and two servers."""
    start_servers()
    delete_fleet()
    insert_fleet(rows=AGENTS, provisioning=0)
    agents = _agents()
    with running_web("config.wsgi:application") as slipway, running_web("bench.bare_site:application") as bare:
        ours = _requests(agents, port=slipway, path="/registry/heartbeat", report=REPORT)
        busy = _requests(agents, port=slipway, path="/registry/heartbeat", report=BUSY)
        limit = _requests(agents, port=bare, path="/beat/{id}", report=REPORT)
        for connections in (16, 1):
            yield from _compare(meter, connections, limit=(bare, limit), ours=(slipway, ours), goals=(0.6, 2))
        # Its text is masked, with the secrets that a second statement reads.
        what = "heartbeats with a task"
        yield from _compare(meter, 16, limit=(bare, limit), ours=(slipway, busy), goals=(0.4, 3), what=what)


def _compare(
    meter: Meter,
    connections: int,
    *,
    limit: tuple[int, list[bytes]],
    ours: tuple[int, list[bytes]],
    goals: tuple[float, float],
    what: str = "heartbeats",
) -> Iterator[Ratio]:
    loads: dict[int, list[Load]] = {}

    def per_second(port: int, requests: list[bytes]) -> float:
        shares = [cycle(requests[number::connections]) for number in range(connections)]
        measured = http_load.load(port, shares, seconds=SECONDS)
        loads.setdefault(port, []).append(measured)
        return measured.per_second

    name = f"{what} over {connections} connections : a bare view with one UPDATE"
    yield meter.compare(
        name, limit=lambda: per_second(*limit), ours=lambda: per_second(*ours), goal=goals[0], rounds=ROUNDS
    )
    # The first round warms up.
    late = {port: [one.percentile(99) for one in measured[1:]] for port, measured in loads.items()}
    yield Ratio(
        name=f"{name}, 99th percentile",
        ratio=round(median(mine / bare for mine, bare in zip(late[ours[0]], late[limit[0]], strict=True)), 3),
        goal=goals[1],
        better=Better.LOWER,
        figures={"ours": round(median(late[ours[0]]), 2), "limit": round(median(late[limit[0]]), 2), "unit": "ms"},
    )


def _agents() -> dict[str, str]:
    """Return a token for each workspace, by its ID."""
    from workspaces.access.tokens import mint_agent_token
    from workspaces.models import Workspace

    return {str(workspace.pk): mint_agent_token(workspace) for workspace in Workspace.objects.all()}


def _requests(agents: dict[str, str], *, port: int, path: str, report: dict[str, object]) -> list[bytes]:
    return [
        http_load.request(
            path.format(id=workspace_id),
            port=port,
            token=token,
            body=json.dumps({"workspace_id": workspace_id, **report}).encode(),
        )
        for workspace_id, token in agents.items()
    ]


SUITES = (measure,)

if __name__ == "__main__":
    main(SUITES)
