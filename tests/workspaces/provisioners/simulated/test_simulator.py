"""The simulator with a backend that can't be read and a platform that refuses."""

import asyncio
import logging
import resource
from contextlib import contextmanager
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest

from tests.agent.platform_stub import running_platform
from tests.waiting import wait_until
from tests.workspaces.provisioners.simulated.conftest import playing
from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, ProvisionerError
from workspaces.provisioners.simulated.agents import EXIT_REFUSED, SimulatedAgent
from workspaces.provisioners.simulated.provisioner import SimulatedProvisioner
from workspaces.provisioners.simulated.simulator import LOOK_SECONDS


@pytest.fixture
def platform():
    with running_platform() as platform:
        yield platform


@pytest.fixture
def root(tmp_path):
    return tmp_path / "simulated"


@pytest.fixture
def backend(root):
    return SimulatedProvisioner(root=root)


def spec(*, platform_url="", behaviour="healthy"):
    config = {"runtime": "echo", "simulation": {"behaviour": behaviour, "boot_seconds": 0}}
    return LaunchSpec(
        key=LaunchKey(workspace_id=uuid4(), launch_id=uuid4()),
        environment={"PLATFORM_URL": platform_url},
        config=config,
        token="t",
        start_timeout_seconds=10,
    )


def count_records(caplog, message):
    return sum(record.getMessage() == message for record in caplog.records)


def wait_for_looks(count=5):
    # Wait, to see that nothing happens.
    asyncio.run(asyncio.sleep(count * LOOK_SECONDS))


def test_an_unreadable_launch_is_logged_once_and_the_others_are_played(backend, root, platform, caplog):
    broken, *others = (spec(platform_url=platform.url) for _ in range(4))
    for each in (broken, *others):
        backend.start(each)
    file = root / "running" / f"{broken.key.workspace_id}.{broken.key.launch_id}.json"
    whole = file.read_text()
    file.write_text("{")
    with caplog.at_level(logging.WARNING), playing(backend):
        platform.wait_for("register", times=3)
        wait_for_looks()
        assert {call.body["id"] for call in platform.named("register")} == {
            str(each.key.workspace_id) for each in others
        }
        assert count_records(caplog, "A simulated launch could not be read") == 1
        file.write_text(whole)
        assert platform.wait_for("register", times=4).body["id"] == str(broken.key.workspace_id)


def test_an_unreadable_backend_is_logged_once_per_outage(backend, root, platform, caplog):
    message = "The simulated launches could not be read"
    root.write_text("no folder")
    with caplog.at_level(logging.WARNING), playing(backend):
        wait_until(lambda: count_records(caplog, message))
        wait_for_looks()
        assert count_records(caplog, message) == 1
        root.unlink()
        backend.start(spec(platform_url=platform.url))
        platform.wait_for("register")
        root.rename(root.with_name("away"))
        root.write_text("no folder")
        wait_until(lambda: count_records(caplog, message) == 2)


def test_if_one_of_two_registrations_ends_the_agent_the_other_ends_too(backend, platform):
    # One is refused; the other would try again.
    platform.answers["register"] = [(403, {"code": "refused"}), (503, {})]
    twice = spec(platform_url=platform.url, behaviour="duplicate-register")
    backend.start(twice)

    async def live():
        played = backend.running_launch(twice.key)
        assert played is not None
        async with httpx.AsyncClient(trust_env=False) as http:
            await SimulatedAgent(twice.key, played, backend=backend, http=http).run()
            return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(live()) == set()
    seen = backend.inspect(twice.key)
    assert (seen.state, seen.exit_code) == (BackendState.EXITED, EXIT_REFUSED)


def test_a_start_on_a_full_disk_fails_without_harm_to_others(backend):
    first = backend.start(spec())
    with a_full_disk(), pytest.raises(ProvisionerError):
        backend.start(spec())
    later = backend.start(spec())
    assert later.state is BackendState.RUNNING
    assert later.url != first.url


@contextmanager
def a_full_disk():
    """Let files be opened but not written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_launch_whose_file_is_damaged_is_stopped_and_followed_by_the_next(backend, root):
    broken = spec()
    backend.start(broken)
    (root / "running" / f"{broken.key.workspace_id}.{broken.key.launch_id}.json").write_text("{")
    assert backend.inspect(broken.key).state is BackendState.UNKNOWN
    assert backend.stop(broken.key, timeout_seconds=1).state is BackendState.EXITED
    assert backend.running_launches() == []
    following = replace(broken, key=replace(broken.key, launch_id=uuid4()))
    assert backend.start(following).state is BackendState.RUNNING


def test_a_strange_file_among_the_running_launches_hides_none_of_them(backend, root):
    running = spec()
    backend.start(running)
    (root / "running" / "notes.json").write_text("{}")
    assert backend.running_launches() == [running.key]
