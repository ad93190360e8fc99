"""The demo's fleet: workspaces in every condition, the expected outcome of each, and what happened to them.

Durations are in minutes of a real fleet. `speed` divides them and the limits alike.
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
    """The outcome that is expected for a workspace."""

    statuses: frozenset[str]
    code: str = FailureCode.NONE
    # Whether it failed at a deadline and arrived after all; None if either is fine.
    arrived_late: bool | None = False

    def __str__(self) -> str:
        return _describe(" or ".join(sorted(self.statuses)), code=self.code, arrived_late=bool(self.arrived_late))

    def is_met_by(self, outcome: "Outcome") -> bool:
        """Return whether the workspace has this outcome."""
        is_arrival_met = self.arrived_late is None or self.arrived_late == outcome.arrived_late
        is_code_met = S.FAILED not in self.statuses or outcome.code == self.code
        return outcome.status in self.statuses and is_arrival_met and is_code_met


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What has happened to a workspace so far."""

    status: str
    code: str
    arrived_late: bool

    def __str__(self) -> str:
        # A workspace that is no longer failed keeps the code of its last failure.
        code = self.code if self.status == S.FAILED else ""
        return _describe(self.status, code=code, arrived_late=self.arrived_late)


def _describe(status: str, *, code: str, arrived_late: bool) -> str:
    if code:
        return f"{status}: {code}"
    return f"failed by time, then {status} after all" if arrived_late else status


ONLINE = Expectation(statuses=frozenset({S.ONLINE}))


def _failed(code: FailureCode) -> Expectation:
    return Expectation(statuses=frozenset({S.FAILED}), code=code)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Workspaces in the same condition; their names are the group's name and a number."""

    name: str
    count: int
    runtime: str
    description: str
    expectation: Expectation = ONLINE
    behaviour: Behaviour = Behaviour.HEALTHY
    boot: Minutes = (0.5, 2)
    # When to launch them, in minutes after the first launch.
    begins: float = 0
    stall: float | None = None
    # How many launches of a workspace misbehave; None means all.
    times: int | None = None
    required_env: str = ""

    @property
    def limit(self) -> float:
        """Return the runtime's boot limit in minutes."""
        return BOOT_LIMITS.get(self.runtime, DEFAULT_BOOT_LIMIT).sweep_seconds / 60

    def config(self, *, speed: float, seed: int) -> str:
        """Return the config.yaml of a workspace of this group."""
        least, most = (minutes * 60 / speed for minutes in self.boot)
        runtime_config: dict[str, Any] = {
            "provision_timeout_seconds": max(1, round(self.limit * 60 / speed)),
            "provision_timeout_override": True,
            # A simulated agent reports these steps but runs nothing.
            "boot": [{"step": step, "run": "echo"} for step in STEPS],
            "command": ["serve"],
        }
        if self.stall is not None:
            runtime_config["stall_timeout_seconds"] = max(1, round(self.stall * 60 / speed))
        if self.required_env:
            runtime_config["required_env"] = [self.required_env]
        simulation: dict[str, Any] = {
            "behaviour": self.behaviour.value,
            "boot_seconds": {"from": round(least, 3), "to": round(most, 3)},
            "seed": seed,
        }
        if self.times is not None:
            simulation["times"] = self.times
        config = {
            "name": self.name,
            "runtime": self.runtime,
            "runtime_config": runtime_config,
            "simulation": simulation,
        }
        return yaml.safe_dump(config, sort_keys=False)


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
        expectation=Expectation(statuses=frozenset({S.ONLINE}), arrived_late=True),
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
        description="stop sending heartbeats but keep running",
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
        description="lose the answer and register again",
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
        # Launched a little later, so that no other workspace is late at the same time.
        name="mirror",
        count=10,
        runtime="crewai",
        description="wait for one slow mirror, all at once",
        # The sweep may fail a few workspaces whose agent registers just afterwards; the late arrival undoes it.
        expectation=Expectation(statuses=frozenset({S.ONLINE}), arrived_late=None),
        behaviour=Behaviour.SLOW,
        boot=(15, 15),
        begins=2,
    ),
)


LONGEST_LIMIT_MINUTES = max(group.limit for group in GROUPS)


@dataclass(frozen=True, kw_only=True)
class Member:
    """One workspace of a fleet, to be created `begins_seconds` after the first launch."""

    name: str
    group: Group
    config: str
    begins_seconds: float

    @property
    def expectation(self) -> Expectation:
        return self.group.expectation


def make_fleet(*, speed: float, seed: int, groups: Iterable[Group] = GROUPS) -> list[Member]:
    """Return the fleet in launch order. The same seed gives the same fleet."""
    fleet = [
        Member(
            name=f"{group.name}-{number:02}" if group.count > 1 else group.name,
            group=group,
            config=group.config(speed=speed, seed=seed * 1000 + number),
            begins_seconds=group.begins * 60 / speed,
        )
        for group in groups
        for number in range(1, group.count + 1)
    ]
    return sorted(fleet, key=lambda member: member.begins_seconds)


def outcomes(fleet: Sequence[Member]) -> Mapping[str, Outcome]:
    """Return the outcomes of the workspaces that were created so far, by name."""
    rows = Workspace.objects.filter(name__in=[member.name for member in fleet])
    taken_back = set(Launch.objects.exclude(false_flip_code="").values_list("workspace_id", flat=True))
    return {
        row.name: Outcome(status=row.status, code=row.failure_code, arrived_late=row.pk in taken_back)
        for row in rows.only("name", "status", "failure_code")
    }


def count_incident_events() -> tuple[int, int]:
    """Return how many events say that an incident was opened, and how many that one was resolved."""
    events = Event.objects.order_by()
    opened = events.filter(event_type=EventType.INCIDENT_OPENED).count()
    return opened, events.filter(event_type=EventType.INCIDENT_RESOLVED).count()
