"""How a simulated agent behaves: what its config.yaml says under `simulation`. Real backends don't read that key.

```yaml
simulation:
  behaviour: slow
  boot_seconds: {median: 720, p95: 1500}   # or a number, or {from: 60, to: 90}
  seed: 7                                   # the same draws each time; without one, others for each workspace
  times: 1                                  # misbehaves in its first launch only; without it, in each
```
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Protocol

# The standard normal distribution's 95th percentile.
_Z95 = 1.6449


class Behaviour(StrEnum):
    """What a simulated agent does that a healthy one wouldn't."""

    HEALTHY = "healthy"
    # Reports its steps and arrives, but its boot takes as long as a first hermes boot.
    SLOW = "slow"
    # Begins its boot and never ends it; its process lives on.
    NEVER = "never"
    # A boot step fails: the agent says so and exits, or its process is killed without a word.
    CRASH = "crash"
    # Registers and beats for a while, then its process ends.
    CRASH_LATE = "crash-late"
    # A fifth of its calls never arrives; once online, its error rate comes and goes.
    FLAKY = "flaky"
    # Registers and beats a few times, then says no more though its process runs.
    SILENT = "silent"
    # Registers twice at the same moment.
    DUPLICATE_REGISTER = "duplicate-register"
    # The answer to its first registration is lost: it registers again.
    LOST_ACK = "lost-ack"
    # Its host's clock is an hour wrong.
    CLOCK_SKEW = "clock-skew"


class InvalidSimulation(ValueError):
    """The config's `simulation` can't be played; the message names the key."""


class Distribution(Protocol):
    """A random number of seconds."""

    def draw(self, random: Random) -> float: ...


@dataclass(frozen=True)
class Uniform:
    """Any number between two with the same chance."""

    least: float
    most: float

    def draw(self, random: Random) -> float:
        return random.uniform(self.least, self.most)


@dataclass(frozen=True)
class Lognormal:
    """As boot times are: most near the median, a few far above it."""

    median: float
    p95: float

    def draw(self, random: Random) -> float:
        return random.lognormvariate(math.log(self.median), math.log(self.p95 / self.median) / _Z95)


# Of a boot with warm caches, and of a first boot that installs everything.
USUAL_BOOT = Lognormal(median=20, p95=60)
SLOW_BOOT = Lognormal(median=12 * 60, p95=24 * 60)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What is to be played. `times`: in how many of its launches it misbehaves, None for all."""

    behaviour: Behaviour = Behaviour.HEALTHY
    boot_seconds: Distribution = USUAL_BOOT
    seed: int | None = None
    times: int | None = None

    def behaviour_in(self, attempt: int) -> Behaviour:
        """Return the behaviour of a workspace's nth launch; the first is 1."""
        return self.behaviour if self.times is None or attempt <= self.times else Behaviour.HEALTHY


def parse_simulation(config: Mapping[str, object]) -> Simulation:
    """Return what a config says under `simulation`; a healthy boot where it says nothing. Raises InvalidSimulation."""
    said = config.get("simulation") or {}
    if not isinstance(said, Mapping):
        raise InvalidSimulation("simulation must hold keys and values.")
    behaviour = _behaviour(said.get("behaviour"))
    usual = SLOW_BOOT if behaviour is Behaviour.SLOW else USUAL_BOOT
    boot = said.get("boot_seconds")
    return Simulation(
        behaviour=behaviour,
        boot_seconds=usual if boot is None else _distribution(boot),
        seed=_count(said, "seed"),
        times=_count(said, "times"),
    )


def _behaviour(value: object) -> Behaviour:
    if value is None:
        return Behaviour.HEALTHY
    try:
        return Behaviour(str(value))
    except ValueError:
        known = ", ".join(Behaviour)
        raise InvalidSimulation(f"simulation.behaviour {value!r} is unknown: give one of {known}.") from None


def _distribution(value: object) -> Distribution:
    if isinstance(value, Mapping):
        if value.keys() == {"from", "to"}:
            least, most = _seconds(value["from"]), _seconds(value["to"])
            return Uniform(least, max(least, most))
        if value.keys() == {"median", "p95"}:
            median = max(_seconds(value["median"]), 0.001)
            return Lognormal(median, max(_seconds(value["p95"]), median))
        raise InvalidSimulation("simulation.boot_seconds must be a number, {from, to} or {median, p95}.")
    return Uniform(_seconds(value), _seconds(value))


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidSimulation(f"simulation.boot_seconds holds {value!r}, which is no number of seconds.")
    return float(value)


def _count(said: Mapping[str, object], name: str) -> int | None:
    value = said.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise InvalidSimulation(f"simulation.{name} must be a whole number from 0, not {value!r}.")
