"""The script of one simulated launch: what its agent does and when, drawn once from its seed. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from workspaces.provisioners.simulated.behaviours import Behaviour, Simulation

KILLED = -9
_HOUR = 3600.0
# What a boot without named steps reports.
_ONLY_STEP = "start"


class Action(StrEnum):
    """What a simulated agent does in its boot."""

    # Tells that a boot step begins.
    PROGRESS = "progress"
    # Registers until that is acknowledged.
    REGISTER = "register"
    REGISTER_TWICE = "register twice"
    # Registers, and hears no answer.
    REGISTER_UNHEARD = "register unheard"
    # Tells why it can't go on, and ends.
    FAIL = "fail"
    # Ends without a word to the platform.
    END = "end"


@dataclass(frozen=True, kw_only=True)
class ScheduledAction:
    """One deed, so many seconds after the launch's start. `text` is the step, or what its log says at the end."""

    at_seconds: float
    action: Action
    text: str = ""
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class Script:
    """A boot, and what comes after it."""

    boot: tuple[ScheduledAction, ...]
    # How often it beats before it ends with `exit_code`, or falls silent where there is none; None: without end.
    beats: int | None = None
    exit_code: int | None = None
    # The share of its calls that never reach the platform.
    loss: float = 0.0
    # Of ten beats in a row, so many tell of errors, the first of them after so many.
    sick_beats: int = 0
    healthy_beats: int = 0
    clock_offset_seconds: float = 0.0

    def is_sick_at(self, beat: int) -> bool:
        """Tell whether the nth heartbeat, from 0, tells of errors."""
        return (beat - self.healthy_beats) % 10 < self.sick_beats


@dataclass(frozen=True, kw_only=True)
class _BootPlan:
    """What every script is written from."""

    steps: tuple[ScheduledAction, ...]
    boot_seconds: float
    random: Random

    def boot(self, *actions: Action) -> tuple[ScheduledAction, ...]:
        """Return the whole boot, ended by these deeds."""
        return (*self.steps, *(ScheduledAction(at_seconds=self.boot_seconds, action=action) for action in actions))

    def steps_before(self, seconds: float) -> tuple[ScheduledAction, ...]:
        return tuple(act for act in self.steps if act.at_seconds <= seconds)


def write_script(simulation: Simulation, *, steps: list[str], attempt: int, random: Random) -> Script:
    """Return the script of a workspace's nth launch; the same for the same random numbers."""
    boot_seconds = simulation.boot_seconds.draw(random)
    names = steps or [_ONLY_STEP]
    acts = tuple(
        ScheduledAction(at_seconds=boot_seconds * number / len(names), action=Action.PROGRESS, text=name)
        for number, name in enumerate(names)
    )
    return _WRITERS[simulation.behaviour_in(attempt)](_BootPlan(steps=acts, boot_seconds=boot_seconds, random=random))


def _healthy(draft: _BootPlan) -> Script:
    return Script(boot=draft.boot(Action.REGISTER))


def _never(draft: _BootPlan) -> Script:
    return Script(boot=draft.steps_before(draft.boot_seconds * draft.random.random()), beats=0)


def _crash(draft: _BootPlan) -> Script:
    at = draft.boot_seconds * draft.random.uniform(0.3, 0.9)
    steps = draft.steps_before(at)
    if draft.random.random() < 1 / 2:
        ending = ScheduledAction(at_seconds=at, action=Action.END, text="Killed", exit_code=KILLED)
    else:
        said = f"Boot step '{steps[-1].text}' exited with status 1."
        ending = ScheduledAction(at_seconds=at, action=Action.FAIL, text=said, exit_code=1)
    return Script(boot=(*steps, ending))


def _crash_late(draft: _BootPlan) -> Script:
    beats, exit_code = draft.random.randint(3, 6), draft.random.choice([1, KILLED])
    return Script(boot=draft.boot(Action.REGISTER), beats=beats, exit_code=exit_code)


def _flaky(draft: _BootPlan) -> Script:
    return Script(boot=draft.boot(Action.REGISTER), loss=1 / 5, sick_beats=4, healthy_beats=draft.random.randint(2, 9))


def _silent(draft: _BootPlan) -> Script:
    return Script(boot=draft.boot(Action.REGISTER), beats=draft.random.randint(1, 3))


def _duplicate_register(draft: _BootPlan) -> Script:
    return Script(boot=draft.boot(Action.REGISTER_TWICE))


def _lost_ack(draft: _BootPlan) -> Script:
    return Script(boot=draft.boot(Action.REGISTER_UNHEARD, Action.REGISTER))


def _clock_skew(draft: _BootPlan) -> Script:
    return Script(boot=draft.boot(Action.REGISTER), clock_offset_seconds=draft.random.choice([-_HOUR, _HOUR]))


_WRITERS: Mapping[Behaviour, Callable[[_BootPlan], Script]] = {
    Behaviour.HEALTHY: _healthy,
    Behaviour.SLOW: _healthy,
    Behaviour.NEVER: _never,
    Behaviour.CRASH: _crash,
    Behaviour.CRASH_LATE: _crash_late,
    Behaviour.FLAKY: _flaky,
    Behaviour.SILENT: _silent,
    Behaviour.DUPLICATE_REGISTER: _duplicate_register,
    Behaviour.LOST_ACK: _lost_ack,
    Behaviour.CLOCK_SKEW: _clock_skew,
}
