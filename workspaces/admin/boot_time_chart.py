"""The plot of boot times: where each mark stands, with the limits in force drawn in. The template draws."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from workspaces.deadlines.boot_times import PhaseTimes, phase_times
from workspaces.deadlines.explanation import PHASES, runtime_phase_limits
from workspaces.deadlines.policy import Limit, Policy
from workspaces.overview import format_duration

DAYS = 30
# In the drawing's own units: a scale of this width begins right of the labels.
LEFT, WIDTH = 90, 500


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A percentile, the longest boot or a limit: where it stands, and what it says."""

    name: str
    x: float
    spoken: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One phase of one runtime."""

    phase: str
    y: int
    number: int
    times: list[Mark]
    sweep: Mark
    # Who acts before the sweep; None where nobody does.
    inner: Mark | None


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One runtime's drawing."""

    runtime: str
    number: int
    height: int
    rows: list[Row]


def boot_plots(*, now: datetime, policy: Policy) -> list[Plot]:
    """Return a drawing for each runtime that had a healthy boot in the last days."""
    times = phase_times(since=now - timedelta(days=DAYS))
    runtimes = sorted({each.runtime for each in times})
    return [_plot(name, [each for each in times if each.runtime == name], policy=policy) for name in runtimes]


def _plot(runtime: str, times: Iterable[PhaseTimes], *, policy: Policy) -> Plot:
    by_phase = {each.phase: each for each in times}
    limits = {each.phase: each for each in runtime_phase_limits(runtime, policy=policy)}
    rows = [
        _row(by_phase[phase], limits[phase].limit, has_inner=bool(limits[phase].inner_description), place=place)
        for place, phase in enumerate(PHASES)
    ]
    return Plot(runtime=runtime, number=rows[-1].number, height=len(rows) * 44 + 8, rows=rows)


def _row(times: PhaseTimes, limit: Limit, *, has_inner: bool, place: int) -> Row:
    longest = max(times.maximum, limit.seconds) * 1.05
    named = (("p50", times.p50), ("p95", times.p95), ("p99", times.p99), ("max", times.maximum))
    return Row(
        phase=times.phase,
        y=place * 44 + 26,
        number=times.number,
        times=[_mark(name, seconds, longest) for name, seconds in named],
        sweep=_mark("limit", limit.seconds, longest),
        inner=_mark("inner limit", limit.inner_seconds, longest) if has_inner else None,
    )


def _mark(name: str, seconds: float, longest: float) -> Mark:
    spoken = format_duration(seconds) if seconds >= 1 or not seconds else f"{seconds * 1000:.0f} ms"
    return Mark(name=name, x=round(LEFT + WIDTH * seconds / longest, 1), spoken=spoken)
