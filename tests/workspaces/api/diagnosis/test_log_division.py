"""GET /workspaces/{id}/logs?stream=boot|agent: where a log divides, and when it can't be divided."""

from datetime import timedelta
from threading import Event as Signal

import pytest

from events.masking.masker import MASK
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting, external, failed, online, running_on
from tests.workspaces.fake_backend import fake_backend
from workspaces.access.secrets import put_secrets
from workspaces.api.diagnosis.log_spans import LogSpan
from workspaces.api.diagnosis.logs import LogStream, read_part
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import ApiScope, Launch, LaunchOutcome, Workspace
from workspaces.services.launching.restart import restart
from workspaces.services.watching.liveness import mark_silent_offline
from workspaces.services.watching.watch import watch_online

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(fake):
    workspace = booting()
    workspace.key = running_on(fake, workspace)
    return workspace


def asked_for(workspace, **query):
    return holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}/logs", **query)


def parts(workspace):
    """Return what the boot wrote, what the agent wrote, and the whole log; a refusal's code in place of one."""
    answers = [asked_for(workspace, **query) for query in ({"stream": "boot"}, {"stream": "agent"}, {})]
    return tuple(
        answer.content.decode() if answer.status_code == 200 else (answer.status_code, answer.json()["code"])
        for answer in answers
    )


def boundary(workspace):
    return Launch.objects.get(pk=workspace.launch_id).boot_log_bytes


UNDIVIDED, DROPPED = (409, "log_undivided"), (409, "log_dropped")


def test_a_register_divides_the_log_into_boot_and_agent(workspace, fake):
    fake.append_log(workspace.key, "install\nstart\n")
    AgentCaller(workspace).register()
    fake.append_log(workspace.key, "serve\n")
    assert parts(workspace) == ("install\nstart\n", "serve\n", "install\nstart\nserve\n")
    launch = holder(ApiScope.READ).get(f"/launches/{workspace.launch_id}").json()
    assert launch["boot_log_bytes"] == boundary(workspace) == len("install\nstart\n")


def test_a_heartbeat_that_completes_the_boot_divides_the_log_too(workspace, fake):
    fake.append_log(workspace.key, "install\n")
    AgentCaller(workspace).beat()
    fake.append_log(workspace.key, "serve\n")
    assert parts(workspace)[:2] == ("install\n", "serve\n")


def test_a_late_register_divides_the_log_where_it_came_online_after_all(fake):
    late = failed(code=FailureCode.TIMED_OUT)
    key = running_on(fake, late)
    Launch.objects.filter(pk=late.launch_id).update(teardown_at=database_now() + timedelta(hours=1))
    fake.append_log(key, "slow\n")
    assert parts(late)[:2] == ("slow\n", "")
    assert AgentCaller(late).register().status_code == 200
    fake.append_log(key, "serve\n")
    assert parts(late)[:2] == ("slow\n", "serve\n")


def test_until_it_is_online_everything_is_boot_output(workspace, fake):
    fake.append_log(workspace.key, "install\n")
    assert parts(workspace) == ("install\n", "", "install\n")
    fake.simulate_exit(workspace.key, exit_code=3, log_tail="broken\n")
    AgentCaller(workspace).failed()
    assert Launch.objects.get(pk=workspace.launch_id).outcome == LaunchOutcome.FAILED
    assert parts(workspace) == ("install\nbroken\n", "", "install\nbroken\n")


def test_only_the_first_time_online_divides_it(workspace, fake):
    fake.append_log(workspace.key, "install\n")
    agent = AgentCaller(workspace)
    agent.register()
    fake.append_log(workspace.key, "serve\n")
    agent.register()
    mark_silent_offline(now=database_now() + timedelta(hours=1), limit=timedelta(minutes=3))
    agent.beat()
    assert Workspace.objects.get(pk=workspace.pk).status == WorkspaceStatus.ONLINE
    assert parts(workspace)[:2] == ("install\n", "serve\n")


def test_a_launch_that_could_not_be_asked_stays_undivided_also_after_it_was_offline(workspace, fake):
    fake.append_log(workspace.key, "install\n")
    fake.unreachable = True
    agent = AgentCaller(workspace)
    assert agent.register().status_code == 200
    fake.unreachable = False
    mark_silent_offline(now=database_now() + timedelta(hours=1), limit=timedelta(minutes=3))
    assert agent.register().status_code == 200
    assert parts(workspace) == (UNDIVIDED, UNDIVIDED, "install\n")
    assert "Leave out `stream`" in asked_for(workspace, stream="boot").json()["error"]


def test_a_launch_that_came_online_before_this_was_kept_is_undivided(fake):
    old = online()
    fake.append_log(running_on(fake, old), "install\nserve\n")
    assert parts(old) == (UNDIVIDED, UNDIVIDED, "install\nserve\n")


def test_a_new_launch_has_a_boot_of_its_own(workspace, fake):
    fake.append_log(workspace.key, "install\n")
    AgentCaller(workspace).register()
    restart(workspace_id=workspace.pk, now=database_now())
    workspace.refresh_from_db()
    fake.append_log(running_on(fake, workspace), "again\n")
    assert parts(workspace) == ("again\n", "", "again\n")


@pytest.mark.parametrize("raises", [ValueError("odd"), SystemExit(3)])
def test_whatever_a_backend_raises_the_register_succeeds(workspace, fake, raises):
    def break_down(call, key):
        if call == "log_size":
            raise raises

    fake.before_call = break_down
    assert AgentCaller(workspace).register().json() == {"status": "registered"}
    assert boundary(workspace) is None


@pytest.mark.parametrize("size", [-1, 2**63, 10**40])
def test_a_size_that_an_agent_forged_does_not_fail_its_register(workspace, fake, monkeypatch, size):
    monkeypatch.setattr(type(fake), "log_size", lambda self, key: size)
    assert AgentCaller(workspace).register().status_code == 200
    assert boundary(workspace) is None


@pytest.mark.django_db(transaction=True)
def test_a_register_neither_waits_for_a_backend_that_hangs_nor_fails():
    go_on, answered = Signal(), []

    def hang(call, key):
        if call == "log_size":
            go_on.wait(PATIENCE_SECONDS)
            answered.append(key)

    with fake_backend(in_threads=True) as fake:
        workspaces = [booting() for _ in range(2)]
        for each in workspaces:
            running_on(fake, each)
        fake.before_call = hang
        answers = [AgentCaller(each).register().status_code for each in workspaces]
        waited_for = list(answered)
        go_on.set()
    assert answers == [200, 200]
    assert [boundary(each) for each in workspaces] == [None, None]
    assert waited_for == []


def test_a_register_asks_the_backend_once_and_a_later_one_and_a_refused_one_do_not(workspace, fake):
    def asked():
        return [call for call, _ in fake.calls].count("log_size")

    agent = AgentCaller(workspace)
    agent.register()
    assert asked() == 1
    agent.register()
    agent.beat()
    AgentCaller(external()).register()
    assert asked() == 1


@pytest.mark.parametrize(
    ("code", "grace"),
    [(FailureCode.CRASHED, timedelta(hours=1)), (FailureCode.TIMED_OUT, timedelta(hours=-1))],
)
def test_no_report_of_a_failed_launch_that_can_not_come_online_any_more_asks_the_backend(fake, code, grace):
    over = failed(code=code)
    running_on(fake, over)
    Launch.objects.filter(pk=over.launch_id).update(teardown_at=database_now() + grace)
    agent = AgentCaller(over)
    assert agent.beat().status_code == 200
    assert agent.register().status_code == 409
    assert "log_size" not in [call for call, _ in fake.calls]


def test_the_line_in_which_it_came_online_belongs_to_the_boot(workspace, fake):
    fake.append_log(workspace.key, "install\nstarting .")
    AgentCaller(workspace).register()
    assert parts(workspace)[:2] == ("install\nstarting .", "")
    fake.append_log(workspace.key, ".. done\nserve\n")
    assert parts(workspace)[:2] == ("install\nstarting ... done\n", "serve\n")


def test_no_boundary_shows_half_of_a_secret(workspace, fake):
    put_secrets({"TOKEN": "hunter2-hunter2"}, workspace_id=workspace.pk)
    text = "first\nwith hunter2-hunter2 inside\nlast\n"
    fake.append_log(workspace.key, text)
    AgentCaller(workspace).register()
    for place in range(len(text) + 1):
        Launch.objects.filter(pk=workspace.launch_id).update(boot_log_bytes=place)
        boot, agent, whole = parts(workspace)
        assert boot + agent == whole == f"first\nwith {MASK} inside\nlast\n", place


def test_each_part_is_read_whole_however_the_parts_of_a_read_fall(workspace, fake, monkeypatch):
    boot = "".join(f"boot {number}\n" for number in range(60))
    agent = "".join(f"agent {number}\n" for number in range(60))
    fake.append_log(workspace.key, boot)
    AgentCaller(workspace).register()
    fake.append_log(workspace.key, agent)
    for most in (len("agent 59\n") + 1, 64, 100, 1000):
        monkeypatch.setattr("workspaces.api.diagnosis.logs.PART_BYTES", most)
        assert parts(workspace) == (boot, agent, boot + agent)


def test_the_newest_8_mib_are_those_of_the_part(workspace, fake, monkeypatch):
    monkeypatch.setattr("workspaces.api.diagnosis.logs.MOST_BYTES", 30)
    fake.append_log(workspace.key, "".join(f"boot {number}\n" for number in range(9)))
    AgentCaller(workspace).register()
    fake.append_log(workspace.key, "".join(f"agent {number}\n" for number in range(9)))
    boot, agent, _ = parts(workspace)
    assert boot == "boot 5\nboot 6\nboot 7\nboot 8\n"
    assert agent == "agent 6\nagent 7\nagent 8\n"


def test_what_is_left_of_a_boot_is_shown_and_one_that_is_not_kept_any_more_is_not_called_empty(workspace, fake):
    fake.append_log(workspace.key, "x" * 99 + "\nalmost\nlast of the boot\n")
    AgentCaller(workspace).register()
    # The backend keeps 128 KiB.
    lines = "y" * 99 + "\n"
    fake.append_log(workspace.key, lines * 1310)
    boot, agent, whole = parts(workspace)
    assert (boot, agent) == ("last of the boot\n", whole.removeprefix("last of the boot\n"))
    # Of the first line that is kept, the beginning may be missing.
    for more in (1, 20):
        fake.append_log(workspace.key, lines * more)
        boot, agent, whole = parts(workspace)
        assert boot == DROPPED
        assert agent == whole == lines * (len(agent) // 100)


def test_a_log_that_became_shorter_is_not_divided(workspace, fake):
    fake.append_log(workspace.key, "install\nstart\n")
    AgentCaller(workspace).register()
    fake.simulate_loss(workspace.key)
    running_on(fake, workspace)
    fake.append_log(workspace.key, "short\n")
    assert parts(workspace) == (UNDIVIDED, UNDIVIDED, "short\n")


def test_the_end_that_a_failure_kept_is_boot_output_only_if_the_launch_was_never_online(workspace, fake):
    assert parts(failed()) == ("last words", "", "last words")
    fake.append_log(workspace.key, "install\n")
    AgentCaller(workspace).register()
    fake.simulate_exit(workspace.key, exit_code=3, log_tail="last words\n")
    assert watch_online(clock=database_now) == [workspace.pk]
    assert parts(workspace)[:2] == ("install\n", "last words\n")
    fake.simulate_loss(workspace.key)
    assert parts(workspace) == (UNDIVIDED, UNDIVIDED, "install\nlast words\n")


def test_a_boot_that_wrote_nothing_is_empty_and_not_the_end_that_a_failure_kept(workspace, fake):
    AgentCaller(workspace).register()
    fake.simulate_exit(workspace.key, exit_code=3, log_tail="last words\n")
    watch_online(clock=database_now)
    assert parts(workspace) == ("", "last words\n", "last words\n")


def test_a_launch_without_any_log_has_two_empty_parts(workspace, fake):
    fake.simulate_loss(workspace.key)
    assert parts(workspace) == parts(external()) == ("", "", "")
    AgentCaller(workspace).register()
    assert parts(workspace) == ("", "", "")


def test_an_offset_is_a_position_in_the_whole_log(workspace, fake):
    fake.append_log(workspace.key, "install\nserve\n")
    span = LogSpan(begin=8)
    part = read_part(workspace, workspace.launch_id, offset=8, span=span)
    assert (part.text, part.offset) == ("serve\n", 14)
    assert not span.is_over(14)
    assert LogSpan(end=8).is_over(8)
    assert list(LogStream) == ["boot", "agent"]
