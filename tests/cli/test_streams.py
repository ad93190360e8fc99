"""What goes on until Ctrl-C: `slipway events -f` and `logs -f`, against the web server and the relay as they run."""

import json
import signal
from uuid import uuid4

import pytest
from slipway.errors import ExitCode

from events import ephemeral, relay
from events.names import EphemeralEventType
from events.positions import last_position
from postgres.clock import database_now
from tests.cut_proxy import cut_proxy
from tests.journeys.conftest import stack
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import config_for, online
from workspaces import tasks
from workspaces.models import Launch
from workspaces.services.launching.create import CreateRequest, create

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["stack"]


@pytest.fixture
def operator(cli, stack):
    """An operator of a server with live streams."""
    stack.start("web", "relay")
    cli.sign_in(f"http://127.0.0.1:{stack.port}")
    return cli


def positions(run):
    return [json.loads(line)["position"] for line in run.lines]


def test_a_stream_that_breaks_goes_on_where_it_was(operator, stack):
    with cut_proxy(to_port=stack.port) as proxy:
        operator.sign_in(f"http://127.0.0.1:{proxy.port}")
        with operator.running("events", "--follow", "--after", "0", "-o", "json") as following:
            online()
            following.wait_for(lambda run: positions(run) == [1, 2])
            proxy.cut()
            following.wait_for(lambda run: "Connecting again." in run.errors)
            online()
            proxy.restore()
            following.wait_for(lambda run: len(run.lines) >= 4)
            online()
            following.wait_for(lambda run: len(run.lines) >= 6)
            assert positions(following) == [1, 2, 3, 4, 5, 6]
            following.process.send_signal(signal.SIGINT)
            assert following.process.wait(PATIENCE_SECONDS) == ExitCode.INTERRUPTED


def test_a_stream_that_breaks_before_its_first_logged_event_misses_none(operator, stack):
    about = {"event_type": EphemeralEventType.TASK_UPDATED, "workspace_id": uuid4(), "version": 1}
    about |= {"payload": {"current_task": "read", "active_tasks": 1}}

    def has_an_ephemeral_event(run):
        ephemeral.publish(ephemeral.EphemeralEvent(**about))
        return run.lines

    with cut_proxy(to_port=stack.port) as proxy:
        operator.sign_in(f"http://127.0.0.1:{proxy.port}")
        with operator.running("events", "--follow", "-o", "json") as following:
            following.wait_for(has_an_ephemeral_event)
            proxy.cut()
            following.wait_for(lambda run: "Connecting again." in run.errors)
            online()
            wait_until(lambda: last_position() == 2)
            proxy.restore()
            following.wait_for(lambda run: list(filter(None, positions(run))) == [1, 2])


def test_only_what_was_asked_for_is_followed(operator):
    wanted, other = online(name="wanted"), online(name="other")
    arguments = ("--after", "0", "-w", "wanted", "-e", "WORKSPACE_ONLINE")
    with operator.running("events", "--follow", *arguments, "-o", "json") as following:
        following.wait_for(lambda run: run.lines)
        [envelope] = map(json.loads, following.lines)
    assert (envelope["event"], envelope["workspace_id"]) == ("WORKSPACE_ONLINE", str(wanted.pk))
    assert other.pk != wanted.pk


def test_the_log_of_events_is_shown_in_order(operator):
    workspace = online(name="nightly")
    online(name="other")
    with operator.running("events", "-f", "--after", "0") as following:
        following.wait_for(lambda run: len(run.lines) == 4)
    rows = operator.json("events", "-w", "nightly")
    assert [row["event"] for row in rows] == ["WORKSPACE_PROVISIONING", "WORKSPACE_ONLINE"]
    assert {row["workspace_id"] for row in rows} == {str(workspace.pk)}
    assert [row["position"] for row in operator.json("events", "--after", "2")] == [3, 4]
    assert operator.ok("events", "-e", "WORKSPACE_ONLINE", "-o", "name") == "WORKSPACE_ONLINE\n" * 2


def test_events_with_a_name_are_found_behind_any_number_of_newer_ones(signed_in):
    workspace = online(name="nightly")
    relay.number_all()
    for arguments in ([], ["-w", workspace.pk]):
        shown = signed_in.ok("events", "-e", "WORKSPACE_PROVISIONING", "-n", "1", "-o", "name", *arguments)
        assert shown == "WORKSPACE_PROVISIONING\n"
    ended = signed_in("events", "-e", "WORKSPACE_ONLIN")
    assert (ended.code, "Did you mean WORKSPACE_ONLINE?" in ended.err) == (2, True)


def test_a_position_that_is_ahead_of_the_log_is_refused(operator):
    ended = operator("events", "--follow", "--after", "100")
    assert (ended.code, "lies ahead of the log" in ended.err) == (2, True)


# It serves once it is told that it is online, which it can't know itself.
TWO_PARTS = """\
runtime_config:
  boot: [{{step: install, run: "echo written by the boot"}}]
  command: [sh, -c, "while [ ! -e {online} ]; do sleep 0.1; done; echo written by the agent; exec sleep 1000"]
"""


def test_the_parts_of_a_real_process_s_log_are_shown_and_followed_one_by_one(operator, stack, tmp_path):
    stack.start("launch")
    told = tmp_path / "online"
    request = CreateRequest(config=config_for("echo", TWO_PARTS.format(online=told)), name="nightly")
    workspace = create(request, now=database_now()).workspace
    tasks.enqueue_launches(workspace.backend, now=database_now())
    by_boot, by_agent = "written by the boot", "written by the agent"
    with operator.running("logs", "nightly", "--stream", "boot", "--follow") as boot:
        boot.wait_for(lambda run: run.process.poll() is not None)
        assert (boot.process.returncode, by_boot in boot.lines) == (0, True), boot.errors
        assert "The boot has ended; the workspace is online." in boot.errors
    with operator.running("logs", "nightly", "--stream", "agent", "--follow") as agent:
        told.touch()
        agent.wait_for(lambda run: by_agent in run.lines)
        assert by_boot not in agent.lines
    shown = [operator.ok("logs", "nightly", "--stream", stream) for stream in ("boot", "agent")]
    assert [(by_boot in text, by_agent in text) for text in shown] == [(True, False), (False, True)]
    assert operator.ok("logs", "nightly") == "".join(shown)
    # As of a launch that came online before its boundary was kept.
    Launch.objects.update(boot_log_bytes=None)
    for arguments in ((), ("--follow",)):
        ended = operator("logs", "nightly", "--stream", "boot", *arguments)
        assert (ended.code, "can't be divided" in ended.err) == (ExitCode.REFUSED, True), ended


def test_a_server_without_live_streams_says_so(signed_in):
    ended = signed_in("events", "--follow")
    assert ended.code == ExitCode.UNAVAILABLE
    assert "ASGI" in ended.err
