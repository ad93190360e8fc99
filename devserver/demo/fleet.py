"""The demo's fleet: workspaces in every condition, what is promised of each, and what became of them.

Durations are those of the field, in minutes; a fleet is played so many times faster (`speed`), its limits with it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from events.models import Event
from events.names import EventType
from workspaces.deadlines.policy import BOOT_LIMITS, DEFAULT_BOOT_LIMIT
from workspaces.lifecycle.transitions import RUNNING, FailureCode
from workspaces.lifecycle.transitions import WorkspaceStatus as S
from workspaces.models import Launch, Workspace
from workspaces.provisioners.simulated.behaviours import Behaviour

Minutes = tuple[float, float]
STEPS = ("make a virtual environment", "install packages", "check the runtime")


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What becomes of a workspace in the end. `code` is why it failed; `flips` whether time ever failed it wrongly."""

    statuses: frozenset[str]
    code: str = FailureCode.NONE
    # A failure by time that its late arrival took back. None: either way.
    is_taken_back: bool | None = False

    def __str__(self) -> str:
        words = " or ".join(sorted(self.statuses))
        if self.code:
            return f"{words}: {self.code}"
        return f"failed by time, then {words} after all" if self.is_taken_back else words

    def is_met_by(self, outcome: "Outcome") -> bool:
        """Tell whether this is what became of it."""
        is_as_often = self.is_taken_back is None or self.is_taken_back == outcome.is_taken_back
        is_for_that_reason = S.FAILED not in self.statuses or outcome.code == self.code
        return outcome.status in self.statuses and is_as_often and is_for_that_reason


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a workspace so far."""

    status: str
    code: str
    is_taken_back: bool

    def __str__(self) -> str:
        if self.status == S.FAILED:
            return f"{self.status}: {self.code}"
        return f"failed by time, then {self.status} after all" if self.is_taken_back else self.status


ONLINE = Expectation(statuses=frozenset({S.ONLINE}))


def _failed(code: FailureCode) -> Expectation:
    return Expectation(statuses=frozenset({S.FAILED}), code=code)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Workspaces in one condition; they are called by its name and a number."""

    name: str
    count: int
    runtime: str
    description: str
    expectation: Expectation = ONLINE
    behaviour: Behaviour = Behaviour.HEALTHY
    boot: Minutes = (0.5, 2)
    # When they are launched, counted from the fleet's beginning.
    begins: float = 0
    stall: float | None = None
    # In how many of its launches it misbehaves.
    times: int | None = None
    required_env: str = ""

    @property
    def limit(self) -> float:
        """Return its runtime's limit for booting in minutes."""
        return BOOT_LIMITS.get(self.runtime, DEFAULT_BOOT_LIMIT).sweep_seconds / 60


GROUPS = (
    Group(
        name="unset",
        count=1,
        runtime="langgraph",
        description="a required variable is not set",
        expectation=_failed(FailureCode.MISSING_ENV),
        required_env="OPENAI_API_KEY",
    ),
    Group(
        name="stuck",
        count=3,
        runtime="langgraph",
        description="begin their boot and never end it",
        expectation=_failed(FailureCode.TIMED_OUT),
        behaviour=Behaviour.NEVER,
        boot=(2, 6),
    ),
    Group(
        name="stuck-hermes",
        count=1,
        runtime="hermes",
        description="the same, with hermes' limit",
        expectation=_failed(FailureCode.TIMED_OUT),
        behaviour=Behaviour.NEVER,
        boot=(10, 20),
    ),
    Group(
        name="stalled",
        count=1,
        runtime="langgraph",
        description="no new step within its stall limit",
        expectation=_failed(FailureCode.STALLED),
        behaviour=Behaviour.NEVER,
        boot=(2, 4),
        stall=4,
    ),
    Group(
        name="too-late",
        count=1,
        runtime="claude-code",
        description="boots longer than its limit",
        expectation=Expectation(statuses=frozenset({S.ONLINE}), is_taken_back=True),
        behaviour=Behaviour.SLOW,
        boot=(13, 13),
    ),
    Group(
        name="crash",
        count=5,
        runtime="claude-code",
        description="a boot step fails, or it is killed",
        expectation=_failed(FailureCode.CRASHED),
        behaviour=Behaviour.CRASH,
        boot=(2, 8),
    ),
    Group(
        name="hermes",
        count=12,
        runtime="hermes",
        description="healthy, but slow: 18 to 27 minutes",
        behaviour=Behaviour.SLOW,
        boot=(18, 27),
    ),
    Group(name="greeter", count=11, runtime="echo", description="healthy"),
    Group(
        name="late-crash",
        count=3,
        runtime="echo",
        description="crash once after they were online",
        behaviour=Behaviour.CRASH_LATE,
        times=1,
    ),
    Group(
        name="flaky",
        count=3,
        runtime="echo",
        description="lose calls, and report errors now and then",
        expectation=Expectation(statuses=frozenset(RUNNING)),
        behaviour=Behaviour.FLAKY,
    ),
    Group(
        name="silent",
        count=3,
        runtime="echo",
        description="stop their heartbeats and live on",
        expectation=Expectation(statuses=frozenset({S.OFFLINE})),
        behaviour=Behaviour.SILENT,
    ),
    Group(
        name="twice",
        count=2,
        runtime="echo",
        description="register twice at once",
        behaviour=Behaviour.DUPLICATE_REGISTER,
    ),
    Group(
        name="unheard",
        count=2,
        runtime="echo",
        description="hear no answer and register again",
        behaviour=Behaviour.LOST_ACK,
    ),
    Group(
        name="skewed",
        count=2,
        runtime="echo",
        description="their clock is an hour wrong",
        behaviour=Behaviour.CLOCK_SKEW,
    ),
    Group(
        # Launched a little later, so that nobody else is late when all of them are.
        name="mirror",
        count=10,
        runtime="crewai",
        description="wait for one slow mirror, all at once",
        # Whom a sweep meets when most have just arrived, it may fail a moment too early: the late arrival wins.
        expectation=Expectation(statuses=frozenset({S.ONLINE}), is_taken_back=None),
        behaviour=Behaviour.SLOW,
        boot=(15, 15),
        begins=2,
    ),
)


LONGEST_LIMIT_MINUTES = max(group.limit for group in GROUPS)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One workspace of a fleet, to be created so many seconds after its beginning."""

    name: str
    group: Group
    config: str
    begins_seconds: float

    @property
    def expectation(self) -> Expectation:
        return self.group.expectation


def make_fleet(*, speed: float, seed: int, groups: Iterable[Group] = GROUPS) -> list[Member]:
    """Return the fleet in the order of its launches; the same for the same seed."""
    fleet = [
        Member(
            name=f"{group.name}-{number:02}" if group.count > 1 else group.name,
            group=group,
            config=_config(group, speed=speed, seed=seed * 1000 + number),
            begins_seconds=group.begins * 60 / speed,
        )
        for group in groups
        for number in range(1, group.count + 1)
    ]
    return sorted(fleet, key=lambda member: member.begins_seconds)


def _config(group: Group, *, speed: float, seed: int) -> str:
    least, most = (minutes * 60 / speed for minutes in group.boot)
    runtime_config: dict[str, Any] = {
        "provision_timeout_seconds": max(1, round(group.limit * 60 / speed)),
        # A simulated agent reports these and runs nothing.
        "boot": [{"step": step, "run": "echo"} for step in STEPS],
        "command": ["serve"],
    }
    if group.stall is not None:
        runtime_config["stall_timeout_seconds"] = max(1, round(group.stall * 60 / speed))
    if group.required_env:
        runtime_config["required_env"] = [group.required_env]
    simulation: dict[str, Any] = {
        "behaviour": group.behaviour.value,
        "boot_seconds": {"from": round(least, 3), "to": round(most, 3)},
        "seed": seed,
    }
    if group.times is not None:
        simulation["times"] = group.times
    config = {"name": group.name, "runtime": group.runtime, "runtime_config": runtime_config, "simulation": simulation}
    return yaml.safe_dump(config, sort_keys=False)


def outcomes(fleet: Sequence[Member]) -> Mapping[str, Outcome]:
    """Return what became of those that were created so far, by name."""
    rows = Workspace.objects.filter(name__in=[member.name for member in fleet])
    taken_back = set(Launch.objects.exclude(false_flip_code="").values_list("workspace_id", flat=True))
    return {
        row.name: Outcome(status=row.status, code=row.failure_code, is_taken_back=row.pk in taken_back)
        for row in rows.only("name", "status", "failure_code")
    }


def count_incident_events() -> tuple[int, int]:
    """Return how many incidents were told to be open, and how many resolved."""
    told = Event.objects.order_by()
    opened = told.filter(event_type=EventType.INCIDENT_OPENED).count()
    return opened, told.filter(event_type=EventType.INCIDENT_RESOLVED).count()
