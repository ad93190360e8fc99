"""Intervals of time, and time counted without them. Pure functions: nothing here reads a clock or the database."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, order=True)
class Interval:
    """The time from `start` to `end`, for example a gap in which a part of Slipway left no sign of life.

    >>> gap = Interval(noon, noon + 10 * minute)
    >>> str(gap)
    '12:00:00-12:10:00'
    >>> gap.length == 10 * minute
    True
    """

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%H:%M:%S}-{self.end:%H:%M:%S}"

    @property
    def length(self) -> timedelta:
        return self.end - self.start

    def without(self, known: Iterable["Interval"]) -> list["Interval"]:
        """Return the parts of this interval that no known interval covers, in order.

        The web was away for ten minutes. The sweep's record of the same outage has already added some of that time to
        the deadlines, so only these parts are still to be added:

        >>> web = Interval(noon, noon + 10 * minute)
        >>> [str(part) for part in web.without([])]
        ['12:00:00-12:10:00']
        >>> [str(part) for part in web.without([Interval(noon + 3 * minute, noon + 5 * minute)])]
        ['12:00:00-12:03:00', '12:05:00-12:10:00']
        >>> [str(part) for part in web.without([Interval(noon - minute, noon + 8 * minute)])]
        ['12:08:00-12:10:00']
        >>> web.without([Interval(noon - minute, noon + 10 * minute)])
        []
        """
        parts, covered_until = [], self.start
        for interval in sorted(known):
            if interval.start > covered_until:
                parts.append(Interval(covered_until, min(interval.start, self.end)))
            covered_until = max(covered_until, interval.end)
        return [*parts, Interval(covered_until, self.end)] if covered_until < self.end else parts


def moment_before(*, now: datetime, duration: timedelta, gaps: Iterable[Interval]) -> datetime:
    """Return the moment that is `duration` before `now` if the time inside the gaps is not counted.

    An agent that may be silent for three minutes is lost at noon if its last heartbeat came before 11:57:

    >>> str(moment_before(now=noon, duration=3 * minute, gaps=[]).time())
    '11:57:00'

    If no heartbeat could arrive from 11:40 to 11:59, one minute after the gap and two minutes before it count:

    >>> gap = Interval(noon - 20 * minute, noon - minute)
    >>> str(moment_before(now=noon, duration=3 * minute, gaps=[gap]).time())
    '11:38:00'

    A gap that ended more than three minutes ago changes nothing:

    >>> gap = Interval(noon - 20 * minute, noon - 4 * minute)
    >>> str(moment_before(now=noon, duration=3 * minute, gaps=[gap]).time())
    '11:57:00'
    """
    moment, left = now, duration
    for gap in sorted(gaps, key=lambda gap: gap.end, reverse=True):
        if gap.start >= moment:
            # A later gap covers this one.
            continue
        counted = max(moment - gap.end, timedelta(0))
        if counted >= left:
            break
        moment, left = gap.start, left - counted
    return moment - left
