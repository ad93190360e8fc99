"""Charts of boot times with the limits in force. The template boot_times.html draws what this computes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from workspaces.deadlines.boot_times import PhaseTimes, phase_times
from workspaces.deadlines.explanation import PHASES, PhaseLimit, runtime_phase_limits
from workspaces.deadlines.policy import Policy
from workspaces.overview import format_duration

DAYS = 30
# In the units of the drawing: the scale is this wide and begins to the right of the labels.
LEFT, WIDTH = 90, 500
ROW_HEIGHT = 44


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A percentile, the longest boot or a limit, at its place on the scale."""

    name: str
    x: float
    text: str


@dataclass(frozen=True, kw_only=True)
class PhaseRow:
    """One phase of one runtime."""

    phase: str
    y: int
    boots: int
    times: list[Mark]
    sweep: Mark
    # The limit of whatever acts before the sweep, if there is one.
    inner: Mark | None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The chart of one runtime."""

    runtime: str
    boots: int
    height: int
    rows: list[PhaseRow]


def boot_time_charts(*, now: datetime, policy: Policy) -> list[Chart]:
    """Return a chart for each runtime with a healthy boot in the last DAYS days."""
    charts = []
    times = phase_times(since=now - timedelta(days=DAYS))
    for runtime in sorted({each.runtime for each in times}):
        by_phase = {each.phase: each for each in times if each.runtime == runtime}
        limits = {each.phase: each for each in runtime_phase_limits(runtime, policy=policy)}
        rows = [phase_row(by_phase[phase], limits[phase], place=place) for place, phase in enumerate(PHASES)]
        height = len(rows) * ROW_HEIGHT + 8
        charts.append(Chart(runtime=runtime, boots=rows[-1].boots, height=height, rows=rows))
    return charts


def phase_row(times: PhaseTimes, limit: PhaseLimit, *, place: int) -> PhaseRow:
    """Return the marks of one phase on a scale that ends just after the longest boot or the limit."""
    longest = max(times.maximum, limit.limit.seconds) * 1.05

    def mark(name: str, seconds: float) -> Mark:
        text = format_duration(seconds) if seconds >= 1 or not seconds else f"{seconds * 1000:.0f} ms"
        return Mark(name=name, x=round(LEFT + WIDTH * seconds / longest, 1), text=text)

    named = (("p50", times.p50), ("p95", times.p95), ("p99", times.p99), ("max", times.maximum))
    return PhaseRow(
        phase=times.phase,
        y=place * ROW_HEIGHT + 26,
        boots=times.number,
        times=[mark(name, seconds) for name, seconds in named],
        sweep=mark("limit", limit.limit.seconds),
        inner=mark("inner limit", limit.other_seconds) if limit.other_seconds < limit.limit.seconds else None,
    )
