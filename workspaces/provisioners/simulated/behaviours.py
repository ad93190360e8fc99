"""How a simulated agent behaves: the key `simulation` of its config.yaml. Real backends ignore that key.

```yaml
simulation:
  behaviour: slow
  boot_seconds: {median: 720, p95: 1500}   # or a number, or {from: 60, to: 90}
  seed: 7                                   # the same random numbers each time; without it, each workspace has its own
  times: 1                                  # misbehave in the first launch only; without it, in every launch
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
    """What a simulated agent does differently from a healthy one."""

    HEALTHY = "healthy"
    # Reports its steps and registers, but takes as long as a first hermes boot.
    SLOW = "slow"
    # Begins its boot and never ends it. Its process lives on.
    NEVER = "never"
    # Fails in a boot step: the agent reports it and exits, or its process is killed.
    CRASH = "crash"
    # Registers, sends some heartbeats, then exits.
    CRASH_LATE = "crash-late"
    # Loses a fifth of its calls. Once online, its error rate rises and falls.
    FLAKY = "flaky"
    # Registers, sends a few heartbeats, then nothing more, though its process runs.
    SILENT = "silent"
    # Registers twice at the same moment.
    DUPLICATE_REGISTER = "duplicate-register"
    # Loses the answer to its first registration and registers again.
    LOST_ACK = "lost-ack"
    # Has a clock that is an hour wrong.
    CLOCK_SKEW = "clock-skew"


class InvalidSimulation(ValueError):
    """The config's `simulation` is invalid. The message names the key."""


class Distribution(Protocol):
    """A random number of seconds."""

    def draw(self, random: Random) -> float: ...


@dataclass(frozen=True)
class Uniform:
    """Any number of seconds between two, all equally likely."""

    least: float
    most: float

    def draw(self, random: Random) -> float:
        return random.uniform(self.least, self.most)


@dataclass(frozen=True)
class Lognormal:
    """Seconds as real boots take them: most near the median, a few far above it."""

    median: float
    p95: float

    def draw(self, random: Random) -> float:
        return random.lognormvariate(math.log(self.median), math.log(self.p95 / self.median) / _Z95)


# A boot with warm caches, and a first boot that installs everything.
USUAL_BOOT = Lognormal(median=20, p95=60)
SLOW_BOOT = Lognormal(median=12 * 60, p95=24 * 60)


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """What an agent is to do. `times` is in how many launches it misbehaves; None means in all."""

    behaviour: Behaviour = Behaviour.HEALTHY
    boot_seconds: Distribution = USUAL_BOOT
    seed: int | None = None
    times: int | None = None

    def behaviour_in(self, attempt: int) -> Behaviour:
        """Return the behaviour in a workspace's launch number `attempt`, from 1."""
        return self.behaviour if self.times is None or attempt <= self.times else Behaviour.HEALTHY


def parse_simulation(config: Mapping[str, object]) -> Simulation:
    """Parse the key `simulation` of a config; without it, the agent is healthy. Raises InvalidSimulation."""
    keys = config.get("simulation") or {}
    if not isinstance(keys, Mapping):
        raise InvalidSimulation("simulation must hold keys and values.")
    name = keys.get("behaviour")
    try:
        behaviour = Behaviour.HEALTHY if name is None else Behaviour(str(name))
    except ValueError:
        known = ", ".join(Behaviour)
        raise InvalidSimulation(f"simulation.behaviour {name!r} is unknown: give one of {known}.") from None
    usual = SLOW_BOOT if behaviour is Behaviour.SLOW else USUAL_BOOT
    boot = keys.get("boot_seconds")
    return Simulation(
        behaviour=behaviour,
        boot_seconds=usual if boot is None else _distribution(boot),
        seed=_count(keys, "seed"),
        times=_count(keys, "times"),
    )


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
        raise InvalidSimulation(f"simulation.boot_seconds holds {value!r}, which is not a number of seconds.")
    return float(value)


def _count(keys: Mapping[str, object], name: str) -> int | None:
    value = keys.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise InvalidSimulation(f"simulation.{name} must be a whole number of 0 or more, not {value!r}.")
