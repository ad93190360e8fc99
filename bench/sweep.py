"""Measure the sweep of a large fleet: against plain SQL, its memory, its effect on heartbeats, and an idle sweep."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from statistics import median, quantiles

from bench.harness import Better, Meter, Ratio, main
from bench.heartbeat_load import HeartbeatLoad, HeartbeatTimes
from bench.large_fleet import delete_fleet, insert_fleet, make_overdue
from bench.servers import start_servers

ROWS = 1_000_000
ROUNDS = 3
TICKS = 300
MAX_MIB = 200
# How many sweeps run while heartbeats are measured, and for how long heartbeats are measured alone before each.
SWEEPS = 6
ALONE_SECONDS = 3.0


def sweep(meter: Meter) -> Iterator[Ratio]:
    """Run all measurements on one database: with a hundredth of the rows for the small idle sweep, then with all."""
    rows = meter.rows or ROWS
    with meter.step(f"A fleet of {rows:,}"):
        start_servers()
        delete_fleet()
        insert_fleet(rows=rows // 100, provisioning=rows // 1000)
        small = _tick_seconds()
        insert_fleet(rows=rows - rows // 100, provisioning=rows // 10 - rows // 1000)
    yield meter.compare("Idle tick", limit=_bare_tick, ours=_idle_tick, goal=2, better=Better.LOWER, unit="ms")
    yield _size_ratio(small, rows)
    overdue = rows // 100
    yield meter.compare(
        f"Sweep of {overdue:,} of {rows:,}",
        limit=lambda: _timed(_by_hand, overdue),
        ours=lambda: _timed(_ours, overdue),
        goal=2,
        better=Better.LOWER,
        rounds=ROUNDS,
        unit="ms",
    )
    with meter.step(f"Memory of a sweep of {overdue:,}"):
        yield _memory(overdue)
    with meter.step("Heartbeats beside a sweep", total=SWEEPS) as advance:
        yield _beside_heartbeats(overdue, advance)


def _timed(fail: Callable[[], int], overdue: int) -> float:
    make_overdue(overdue)
    began, ended = _window(fail, overdue)
    return (ended - began) * 1000


def _window(fail: Callable[[], int], overdue: int) -> tuple[float, float]:
    began = time.monotonic()
    failed = fail()
    ended = time.monotonic()
    if failed != overdue:
        raise RuntimeError(f"The sweep failed {failed} workspaces instead of {overdue}.")
    return began, ended


def _by_hand() -> int:
    from bench.sweep_in_sql import sweep_in_sql
    from postgres.clock import database_now

    return sweep_in_sql(now=database_now())


def _ours() -> int:
    from postgres.clock import database_now
    from workspaces.deadlines.policy import Policy
    from workspaces.services.watching.sweep import sweep_stuck

    return len(sweep_stuck(now=database_now(), policy=Policy()).failed)


def _idle_tick() -> float:
    return _mean_ms(_ours)


def _bare_tick() -> float:
    """Return the milliseconds of the least that an idle sweep needs: one ORM query and one UPDATE of one row."""
    from postgres.clock import database_now
    from workspaces.models import SweepRun, Workspace

    def tick() -> None:
        now = database_now()
        list(Workspace.objects.provisioning().filter(deadline_at__lte=now).order_by("deadline_at", "pk")[:1000])
        SweepRun.objects.update(ran_at=now)

    return _mean_ms(tick)


def _mean_ms(tick: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(TICKS):
        tick()
    return (time.perf_counter() - began) / TICKS * 1000


def _tick_seconds() -> list[float]:
    _idle_tick()
    return [_idle_tick() for _ in range(5)]


def _size_ratio(small: list[float], rows: int) -> Ratio:
    large = _tick_seconds()
    return Ratio(
        name=f"Idle tick at {rows:,} over {rows // 100:,}",
        ratio=round(median(large) / median(small), 3),
        goal=1.2,
        better=Better.LOWER,
        figures={"ours": round(median(large), 2), "limit": round(median(small), 2), "unit": "ms"},
    )


def _memory(overdue: int) -> Ratio:
    """Sweep in a separate process and return its peak memory."""
    make_overdue(overdue)
    peak = float(_child("bench.sweep", "--sweep-once"))
    return Ratio(
        name=f"Memory of a sweep of {overdue:,}",
        ratio=round(peak / MAX_MIB, 3),
        goal=1,
        better=Better.LOWER,
        figures={"ours": round(peak), "limit": MAX_MIB, "unit": "MiB"},
    )


def _beside_heartbeats(overdue: int, advance: Callable[[], None]) -> Ratio:
    """Compare the p99 of heartbeats from another process during a sweep with the p99 before it.

    Each sweep is a round with its own p99 and the result is the ratio of the medians: at 200 heartbeats per second a
    single pause of the disk reaches the p99. The ranges show such pauses.
    """
    windows = []
    with HeartbeatLoad() as beating:
        for _ in range(SWEEPS):
            make_overdue(overdue)
            time.sleep(ALONE_SECONDS + 1)
            windows.append(_window(_ours, overdue))
            advance()
        beats = beating.stop()
    return _ratio_of_rounds([_round(beats, *window) for window in windows])


def _round(beats: HeartbeatTimes, began: float, ended: float) -> tuple[float, float]:
    """Return the p99 during this sweep and the p99 before it, in milliseconds."""
    beside = [took for due, took in beats if began <= due <= ended]
    alone = [took for due, took in beats if began - ALONE_SECONDS <= due < began - 0.1]
    return _p99(beside) * 1000, _p99(alone) * 1000


def _ratio_of_rounds(rounds: list[tuple[float, float]]) -> Ratio:
    beside, alone = (list(figures) for figures in zip(*rounds, strict=True))
    return Ratio(
        name="Heartbeats beside a sweep",
        ratio=round(median(beside) / median(alone), 3),
        goal=3,
        better=Better.LOWER,
        figures={
            "ours": round(median(beside), 2),
            "limit": round(median(alone), 2),
            "ours_range": [round(min(beside), 2), round(max(beside), 2)],
            "limit_range": [round(min(alone), 2), round(max(alone), 2)],
            "unit": "ms, p99",
            "rounds": len(rounds),
        },
    )


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]


def _child(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ, timeout=600).stdout


def _sweep_once() -> None:
    import django

    django.setup()
    _ours()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)  # noqa: T201


SUITES = (sweep,)

if __name__ == "__main__":
    _sweep_once() if "--sweep-once" in sys.argv else main(SUITES)
