"""The script of a simulated agent: parsed from its config, drawn from its seed."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspaces.provisioners.simulated.behaviours import (
    Behaviour,
    InvalidSimulation,
    Lognormal,
    Simulation,
    Uniform,
    parse_simulation,
)
from workspaces.provisioners.simulated.scripts import Action, write_script

STEPS = ["fetch", "install", "check"]
ARRIVALS = {Action.REGISTER, Action.REGISTER_TWICE}


def script(behaviour, seed=1, *, attempt=1, times=None):
    simulation = Simulation(behaviour=behaviour, boot_seconds=Uniform(10, 20), times=times)
    return write_script(simulation, steps=STEPS, attempt=attempt, random=Random(seed))  # noqa: S311


@pytest.mark.parametrize(
    ("said", "distribution"),
    [
        (30, Uniform(30, 30)),
        ({"from": 2, "to": 5.5}, Uniform(2, 5.5)),
        ({"median": 720, "p95": 1500}, Lognormal(720, 1500)),
    ],
)
def test_a_config_says_how_long_a_boot_takes(said, distribution):
    assert parse_simulation({"simulation": {"boot_seconds": said}}).boot_seconds == distribution


@pytest.mark.parametrize("config", [{}, {"simulation": None}, {"simulation": {}}, {"simulation": {"behaviour": None}}])
def test_a_config_without_a_simulation_boots_healthily(config):
    assert parse_simulation(config) == Simulation()


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("slow", "simulation"),
        ({"behaviour": "lazy"}, "behaviour"),
        ({"boot_seconds": -1}, "boot_seconds"),
        ({"boot_seconds": {"from": 1}}, "boot_seconds"),
        ({"boot_seconds": {"from": 1, "to": "2"}}, "boot_seconds"),
        ({"boot_seconds": True}, "boot_seconds"),
        ({"seed": "x"}, "seed"),
        ({"times": -1}, "times"),
    ],
)
def test_an_invalid_simulation_is_named(said, key):
    with pytest.raises(InvalidSimulation, match=key):
        parse_simulation({"simulation": said})


def test_a_lognormal_boot_has_its_median_and_its_95th_percentile():
    random = Random(1)  # noqa: S311
    drawn = sorted(Lognormal(100, 250).draw(random) for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(100, rel=0.05)
    assert drawn[19_000] == pytest.approx(250, rel=0.05)


@given(behaviour=st.sampled_from(Behaviour), seed=st.integers(0, 10_000))
def test_the_same_seed_makes_the_same_script(behaviour, seed):
    assert script(behaviour, seed) == script(behaviour, seed)


@given(behaviour=st.sampled_from(Behaviour), seed=st.integers(0, 10_000))
def test_a_boot_goes_forward_and_lasts_no_longer_than_drawn(behaviour, seed):
    times = [act.at_seconds for act in script(behaviour, seed).boot]
    assert times == sorted(times)
    assert 0 == times[0] <= times[-1] <= 20


@given(seed=st.integers(0, 10_000))
def test_only_some_behaviours_register(seed):
    never = {Behaviour.NEVER, Behaviour.CRASH}
    for behaviour in Behaviour:
        registers = any(act.action in ARRIVALS for act in script(behaviour, seed).boot)
        assert registers == (behaviour not in never), behaviour


def test_some_crashes_are_reported_and_others_are_not():
    endings = {script(Behaviour.CRASH, seed).boot[-1].action for seed in range(20)}
    assert endings == {Action.FAIL, Action.END}


def test_a_late_crash_follows_some_heartbeats_and_a_silent_agent_lives_on():
    late, silent = script(Behaviour.CRASH_LATE), script(Behaviour.SILENT)
    assert late.beats
    assert late.exit_code is not None
    assert silent.beats
    assert silent.exit_code is None


def test_a_flaky_agent_reports_errors_in_four_of_ten_heartbeats():
    flaky = script(Behaviour.FLAKY)
    assert [flaky.is_sick_at(beat) for beat in range(20)].count(True) == 8
    assert not any(script(Behaviour.HEALTHY).is_sick_at(beat) for beat in range(20))


def test_an_agent_that_misbehaves_once_is_healthy_from_its_second_launch_on():
    assert script(Behaviour.CRASH, times=1).boot[-1].action in {Action.FAIL, Action.END}
    assert script(Behaviour.CRASH, attempt=2, times=1).boot[-1].action == Action.REGISTER
