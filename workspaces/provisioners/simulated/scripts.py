"""The script of one simulated launch: what its agent does and when, drawn once from its seed. Pure functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from workspaces.provisioners.simulated.behaviours import Behaviour, Simulation

KILLED = -9
_HOUR = 3600.0
# The boot step that is reported if the config names none.
_DEFAULT_STEP = "start"


class Action(StrEnum):
    """What a simulated agent does in its boot."""

    # Report that a boot step begins.
    PROGRESS = "progress"
    # Register, and try again until the platform acknowledges it.
    REGISTER = "register"
    REGISTER_TWICE = "register twice"
    # Register and lose the answer.
    REGISTER_UNHEARD = "register unheard"
    # Report why the boot failed, and exit.
    FAIL = "fail"
    # Exit without a report.
    END = "end"


@dataclass(frozen=True, kw_only=True)
class ScheduledAction:
    """An action at a time in seconds after the launch's start. `text` is the boot step, or the last line of the log."""

    at_seconds: float
    action: Action
    text: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Script:
    """What an agent does: its boot, and then its heartbeats."""

    boot: tuple[ScheduledAction, ...]
    # How many heartbeats it sends; None: without end. Then it exits with `exit_code`, or falls silent if that is None.
    beats: int | None = None
    exit_code: int | None = None
    # The share of its calls that never reach the platform.
    loss: float = 0.0
    # After the healthy heartbeats, this many of every ten report errors.
    sick_beats: int = 0
    healthy_beats: int = 0
    clock_offset_seconds: float = 0.0

    def is_sick_at(self, beat: int) -> bool:
        """Return whether the nth heartbeat, counted from 0, reports errors."""
        return (beat - self.healthy_beats) % 10 < self.sick_beats


@dataclass(frozen=True, kw_only=True)
class BootPlan:
    """What every script starts from: the boot steps, the length of the boot, and the random numbers."""

    steps: tuple[ScheduledAction, ...]
    boot_seconds: float
    random: Random

    def boot(self, *actions: Action) -> tuple[ScheduledAction, ...]:
        """Return all boot steps, followed by these actions."""
        return (*self.steps, *(ScheduledAction(at_seconds=self.boot_seconds, action=action) for action in actions))

    def steps_before(self, seconds: float) -> tuple[ScheduledAction, ...]:
        return tuple(step for step in self.steps if step.at_seconds <= seconds)


def write_script(simulation: Simulation, *, steps: list[str], attempt: int, random: Random) -> Script:
    """Return the script of a workspace's launch number `attempt`, from 1. Equal random numbers give equal scripts."""
    boot_seconds = simulation.boot_seconds.draw(random)
    names = steps or [_DEFAULT_STEP]
    scheduled = tuple(
        ScheduledAction(at_seconds=boot_seconds * number / len(names), action=Action.PROGRESS, text=name)
        for number, name in enumerate(names)
    )
    plan = BootPlan(steps=scheduled, boot_seconds=boot_seconds, random=random)
    return _WRITERS[simulation.behaviour_in(attempt)](plan)


def healthy(plan: BootPlan) -> Script:
    """Boot, register, and send heartbeats without end."""
    return Script(boot=plan.boot(Action.REGISTER))


def never_registers(plan: BootPlan) -> Script:
    """Report some boot steps and never register."""
    return Script(boot=plan.steps_before(plan.boot_seconds * plan.random.random()), beats=0)


def crashes(plan: BootPlan) -> Script:
    """Exit during the boot: half of the agents report why, the others are killed."""
    at = plan.boot_seconds * plan.random.uniform(0.3, 0.9)
    steps = plan.steps_before(at)
    if plan.random.random() < 1 / 2:
        last = ScheduledAction(at_seconds=at, action=Action.END, text="Killed", exit_code=KILLED)
    else:
        text = f"Boot step '{steps[-1].text}' exited with status 1."
        last = ScheduledAction(at_seconds=at, action=Action.FAIL, text=text, exit_code=1)
    return Script(boot=(*steps, last))


def crashes_late(plan: BootPlan) -> Script:
    """Register, send a few heartbeats, then exit."""
    beats, exit_code = plan.random.randint(3, 6), plan.random.choice([1, KILLED])
    return Script(boot=plan.boot(Action.REGISTER), beats=beats, exit_code=exit_code)


def is_flaky(plan: BootPlan) -> Script:
    """Lose a fifth of the calls, and report errors in four of ten heartbeats."""
    healthy_beats = plan.random.randint(2, 9)
    return Script(boot=plan.boot(Action.REGISTER), loss=1 / 5, sick_beats=4, healthy_beats=healthy_beats)


def falls_silent(plan: BootPlan) -> Script:
    """Register, send a few heartbeats, then no more."""
    return Script(boot=plan.boot(Action.REGISTER), beats=plan.random.randint(1, 3))


def registers_twice(plan: BootPlan) -> Script:
    """Register twice at the same moment."""
    return Script(boot=plan.boot(Action.REGISTER_TWICE))


def loses_answer(plan: BootPlan) -> Script:
    """Lose the answer to the first registration and register again."""
    return Script(boot=plan.boot(Action.REGISTER_UNHEARD, Action.REGISTER))


def has_wrong_clock(plan: BootPlan) -> Script:
    """Boot with a clock that is an hour behind or ahead."""
    return Script(boot=plan.boot(Action.REGISTER), clock_offset_seconds=plan.random.choice([-_HOUR, _HOUR]))


_WRITERS: Mapping[Behaviour, Callable[[BootPlan], Script]] = {
    Behaviour.HEALTHY: healthy,
    Behaviour.SLOW: healthy,
    Behaviour.NEVER: never_registers,
    Behaviour.CRASH: crashes,
    Behaviour.CRASH_LATE: crashes_late,
    Behaviour.FLAKY: is_flaky,
    Behaviour.SILENT: falls_silent,
    Behaviour.DUPLICATE_REGISTER: registers_twice,
    Behaviour.LOST_ACK: loses_answer,
    Behaviour.CLOCK_SKEW: has_wrong_clock,
}
