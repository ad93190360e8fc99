"""The contract of every backend. The fake that other tests use is a simulated backend, so it is held to it too."""

from contextlib import contextmanager, nullcontext
from typing import Protocol
from uuid import uuid4

import pytest

from tests.agent.platform_stub import running_platform
from tests.waiting import wait_until
from tests.workspaces.fake_backend import FakeProvisioner
from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.provisioners.base import (
    BackendState,
    LaunchKey,
    LaunchSpec,
    Provisioner,
    ProvisionerError,
)
from workspaces.provisioners.kinds import LAUNCHED_KINDS, BackendKind
from workspaces.provisioners.registry import ADAPTERS
from workspaces.provisioners.simulated.provisioner import SimulatedProvisioner


class World(Protocol):
    """A backend, and a way to let the object of a launch end by itself."""

    backend: Provisioner

    def spec(self): ...

    def simulate_exit(self, key, exit_code): ...


class RealWorld(ProcessWorld):
    COMMAND = 'echo "begun"; while [ ! -e end ]; do sleep 0.05; done; exit "$(cat end)"'

    platform_url = ""

    def spec(self):
        return super().spec(self.COMMAND, PLATFORM_URL=self.platform_url)

    def simulate_exit(self, key, exit_code):
        fresh = self.folder(key).work / "end.new"
        fresh.write_text(str(exit_code))
        fresh.rename(fresh.with_name("end"))
        wait_until(lambda: self.backend.inspect(key).state is BackendState.EXITED)


class SimulatedWorld:
    def __init__(self, folder):
        self._root = folder / "simulated"

    @property
    def backend(self):
        """Return a new adapter each time, because each worker has its own."""
        return SimulatedProvisioner(root=self._root)

    def spec(self):
        key = LaunchKey(workspace_id=uuid4(), launch_id=uuid4())
        return LaunchSpec(key=key, environment={}, config={}, token="t", start_timeout_seconds=60)

    def simulate_exit(self, key, exit_code):
        self.backend.simulate_exit(key, exit_code=exit_code, log_tail="begun\n")


@contextmanager
def process_world(folder):
    real = RealWorld(folder)
    with running_platform() as platform:
        real.platform_url = platform.url
        yield real
        real.clean_up()


# One entry for each backend that Slipway launches on.
WORLDS = {BackendKind.PROCESS: process_world, BackendKind.SIMULATED: lambda folder: nullcontext(SimulatedWorld(folder))}


@pytest.fixture(params=list(WORLDS))
def world(request, tmp_path):
    with WORLDS[request.param](tmp_path) as world:
        yield world


@pytest.fixture
def unstarted(world):
    return world.spec()


@pytest.fixture
def running(world):
    spec = world.spec()
    world.backend.start(spec)
    return spec.key


def test_every_kind_that_slipway_launches_on_has_an_adapter_and_is_held_to_this_contract():
    assert set(ADAPTERS) == set(WORLDS) == set(LAUNCHED_KINDS)


def test_a_started_launch_runs_and_has_an_address(world, unstarted):
    seen = world.backend.start(unstarted)
    assert seen.state is BackendState.RUNNING
    assert seen.url.startswith("http://127.0.0.1:")
    assert world.backend.inspect(unstarted.key).url == seen.url


def test_a_second_start_of_a_launch_finds_the_first(world, unstarted):
    first = world.backend.start(unstarted)
    assert world.backend.start(unstarted).url == first.url


def test_two_launches_have_two_addresses(world):
    assert world.backend.start(world.spec()).url != world.backend.start(world.spec()).url


def test_a_stopped_launch_has_exited(world, running):
    seen = world.backend.stop(running, timeout_seconds=60)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, 0)
    assert world.backend.inspect(running).state is BackendState.EXITED


def test_stopping_twice_is_not_an_error(world, running):
    first = world.backend.stop(running, timeout_seconds=60)
    assert world.backend.stop(running, timeout_seconds=60) == first


def test_a_requested_stop_ends_the_launch(world, running):
    world.backend.request_stop(running)
    wait_until(lambda: world.backend.inspect(running).state is BackendState.EXITED)


def test_a_launch_that_ended_by_itself_has_its_exit_code_and_log(world, running):
    world.simulate_exit(running, 3)
    seen = world.backend.inspect(running)
    assert (seen.state, seen.exit_code, seen.url) == (BackendState.EXITED, 3, "")
    assert "begun\n" in seen.log_tail
    whole = world.backend.read_log(running, offset=0, most=100_000)
    assert (whole.start, whole.end) == (0, whole.size)
    assert b"begun\n" in whole.data
    part = world.backend.read_log(running, offset=1, most=3)
    assert (part.start, part.data, part.size) == (1, whole.data[1:4], whole.size)
    assert world.backend.log_size(running) == whole.size


def test_a_launch_that_never_was_has_no_log(world, unstarted):
    nothing = world.backend.read_log(unstarted.key, offset=7, most=100)
    assert (nothing.start, nothing.data, nothing.size) == (7, b"", 7)
    assert world.backend.log_size(unstarted.key) is None
    world.backend.stop(unstarted.key, timeout_seconds=1)
    assert world.backend.log_size(unstarted.key) is None


def test_a_start_after_the_end_starts_nothing(world, unstarted):
    world.backend.start(unstarted)
    world.backend.stop(unstarted.key, timeout_seconds=60)
    assert world.backend.start(unstarted).state is BackendState.EXITED


def test_a_launch_stopped_before_its_start_never_starts(world, unstarted):
    world.backend.stop(unstarted.key, timeout_seconds=1)
    with pytest.raises(ProvisionerError, match="stopped before it was started"):
        world.backend.start(unstarted)
    assert world.backend.inspect(unstarted.key).state is BackendState.MISSING


def test_an_unknown_launch_is_missing(world, unstarted):
    assert world.backend.inspect(unstarted.key).state is BackendState.MISSING
    assert world.backend.stop(unstarted.key, timeout_seconds=1).state is BackendState.MISSING
    world.backend.request_stop(unstarted.key)
    world.backend.forget(unstarted.key)
    world.backend.destroy(unstarted.key.workspace_id)
    assert world.backend.inspect(unstarted.key).state is BackendState.MISSING


def test_a_running_launch_is_listed_until_it_is_stopped(world, running):
    other = world.spec()
    world.backend.start(other)
    assert {running, other.key} <= set(world.backend.running_launches())
    world.backend.stop(running, timeout_seconds=60)
    held = world.backend.running_launches()
    assert running not in held
    assert other.key in held


def test_a_launch_that_ended_by_itself_is_not_listed(world, running):
    world.simulate_exit(running, 3)
    wait_until(lambda: running not in world.backend.running_launches())


def test_a_forgotten_launch_is_missing(world, running):
    world.backend.stop(running, timeout_seconds=60)
    world.backend.forget(running)
    assert world.backend.inspect(running).state is BackendState.MISSING


def test_a_running_launch_can_be_neither_forgotten_nor_destroyed(world, running):
    with pytest.raises(ProvisionerError, match="still runs"):
        world.backend.forget(running)
    with pytest.raises(ProvisionerError, match="still runs"):
        world.backend.destroy(running.workspace_id)
    assert world.backend.inspect(running).state is BackendState.RUNNING


def test_a_destroyed_workspace_has_no_launches_left(world, running):
    world.backend.stop(running, timeout_seconds=60)
    world.backend.destroy(running.workspace_id)
    assert world.backend.inspect(running).state is BackendState.MISSING


@pytest.fixture
def fake():
    return FakeProvisioner()


@pytest.fixture
def faked(fake, tmp_path):
    spec = SimulatedWorld(tmp_path).spec()
    fake.start(spec)
    return spec.key


def test_the_fake_can_be_unreachable_which_is_not_dead(fake, faked):
    fake.unreachable = True
    assert fake.inspect(faked).state is BackendState.UNKNOWN
    with pytest.raises(ProvisionerError):
        fake.stop(faked, timeout_seconds=1)
    with pytest.raises(ProvisionerError):
        fake.running_launches()
    fake.unreachable = False
    assert fake.inspect(faked).state is BackendState.RUNNING


def test_the_fake_can_hold_a_launch_that_no_stop_ends(fake, faked):
    fake.immortal.add(faked)
    seen = fake.stop(faked, timeout_seconds=1)
    assert seen.state is BackendState.RUNNING
