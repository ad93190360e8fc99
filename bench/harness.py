"""Measure Slipway and a baseline alternately in the same run, so that the ratio does not depend on the machine."""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table


class Better(StrEnum):
    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """The result of a benchmark: our figure divided by the baseline's, the goal, and the figures behind the ratio."""

    name: str
    ratio: float
    goal: float
    better: Better
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def is_met(self) -> bool:
        """Return whether the ratio meets its goal."""
        return self.ratio >= self.goal if self.better == Better.HIGHER else self.ratio <= self.goal


class Meter:
    """Run measurements and show their progress."""

    def __init__(self, progress: Progress, *, rows: int | None = None) -> None:
        """`rows` is the fleet size given with `--rows`; None keeps the suite's own."""
        self._progress = progress
        self.rows = rows

    @contextmanager
    def step(self, name: str, *, total: int | None = None) -> Iterator[Callable[[], None]]:
        """Show a step's progress. The block calls the function it gets after each of `total` parts."""
        task = self._progress.add_task(name, total=total)
        yield lambda: self._progress.advance(task)
        self._progress.remove_task(task)

    def compare(
        self,
        name: str,
        *,
        limit: Callable[[], float],
        ours: Callable[[], float],
        goal: float,
        better: Better = Better.HIGHER,
        rounds: int = 9,
        unit: str = "per second",
    ) -> Ratio:
        """Measure the baseline (`limit`) and Slipway (`ours`) alternately and return the median of the rounds' ratios.

        The first round only warms up and is dropped. A round takes both figures one after the other, so that other load
        on the machine affects both. `limit` and `ours` return a figure in `unit`.
        """
        task = self._progress.add_task(name, total=2 * (rounds + 1))
        figures: dict[str, list[float]] = {"limit": [], "ours": []}
        for _ in range(rounds + 1):
            for who, measure in (("limit", limit), ("ours", ours)):
                figures[who].append(measure())
                self._progress.advance(task)
        self._progress.remove_task(task)
        counted = {who: values[1:] for who, values in figures.items()}
        medians = {who: round(median(values), 2) for who, values in counted.items()}
        spread = {f"{who}_range": [round(min(values), 2), round(max(values), 2)] for who, values in counted.items()}
        ratio = median(ours / limit for ours, limit in zip(counted["ours"], counted["limit"], strict=True))
        return Ratio(
            name=name,
            ratio=round(ratio, 3),
            goal=goal,
            better=better,
            figures={**medians, **spread, "unit": unit, "rounds": rounds},
        )


Suite = Callable[[Meter], Iterable[Ratio]]


def main(suites: Iterable[Suite]) -> None:
    """Run suites as a program and print a table, or a JSON list with `--json`. A missed goal is not an error."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true", help="print a list of {name, ratio, goal, better, figures}")
    parser.add_argument("--rows", type=int, help="the fleet size of suites that have one (default: full size)")
    options = parser.parse_args()
    ratios = list(_measured(suites, rows=options.rows))
    if options.json:
        print(json.dumps([asdict(ratio) for ratio in ratios], indent=2))  # noqa: T201
    else:
        Console().print(_table(ratios))


def _measured(suites: Iterable[Suite], *, rows: int | None) -> Iterator[Ratio]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), *Progress.get_default_columns()[1:3])
    # Progress goes to stderr so that stdout holds nothing but the result.
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as progress:
        for suite in suites:
            yield from suite(Meter(progress, rows=rows))


def _table(ratios: Iterable[Ratio]) -> Table:
    table = Table(title="Slipway divided by the baseline of the same run")
    for name in ("Benchmark", "Ratio", "Goal", "Ours", "Baseline", "Unit"):
        table.add_column(name, justify="left" if name in {"Benchmark", "Unit"} else "right")
    for ratio in ratios:
        sign = "≥" if ratio.better == Better.HIGHER else "≤"
        colour = "green" if ratio.is_met else "red"
        figures = ratio.figures
        table.add_row(
            ratio.name,
            f"[{colour}]{ratio.ratio:.2f}[/]",
            f"{sign} {ratio.goal:g}",
            f"{figures.get('ours', '')}",
            f"{figures.get('limit', '')}",
            str(figures.get("unit", "")),
        )
    return table
