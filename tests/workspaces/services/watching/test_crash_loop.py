"""A workspace that crashes again and again is one crash loop: it is shown as such, told of once, and ends with why."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction

from events import relay
from events.delivery.deliverer import deliver_all_due
from events.delivery.grouping import IN_CRASH_LOOP
from events.models import Delivery, Event
from events.names import EventType
from postgres.clock import database_now
from registry.tasks import sweep_silent
from tests.events.channels.factories import channel, mattermost
from tests.events.payload_schemas import misfits
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import online, running_on
from tests.workspaces.services.watching.test_crash_recovery import crash, recover, watch
from workspaces import operations
from workspaces.access.api_keys import mint_api_key
from workspaces.lifecycle.transitions import FailureCode, FailureOwner, WorkspaceStatus
from workspaces.models import ApiScope, Heartbeat, Launch, Workspace
from workspaces.services.launching.restart import restart
from workspaces.services.watching.crash_recovery import forget_ended_loops, restart_crashed

pytestmark = pytest.mark.django_db
S = WorkspaceStatus


def loop(fake, *, crashes, workspace=None):
    """Let a workspace crash this often, each time at once after its restart. Return it offline."""
    workspace = workspace or online(name="looping")
    for _ in range(crashes - 1):
        lost = crash(fake, workspace, exit_code=3)
        workspace = recover(lost, at=lost.restart_due_at)
    return crash(fake, workspace, exit_code=3)


def listed(client):
    _, key = mint_api_key(name="reader", scopes=[ApiScope.READ])
    (row,) = client.get("/workspaces", headers={"Authorization": f"Bearer {key}"}).json()
    return row


@pytest.mark.parametrize("crashes", [1, 2, 3, 4])
def test_the_api_shows_a_crash_loop_from_the_second_crash_on(fake, client, crashes):
    workspace = loop(fake, crashes=crashes)
    row = listed(client)
    assert (row["status"], row["failure"]["log_tail"]) == ("offline", "last words")
    if crashes == 1:
        assert (row["failure"]["code"], row["crash_loop"]) == ("crashed", None)
        return
    shown = row["crash_loop"]
    assert row["failure"]["code"] == "crash_loop"
    assert (shown["count"], shown["most_attempts"], shown["exit_code"]) == (crashes, 3, 3)
    assert shown["log_tail"] == "last words"
    assert shown["gave_up"] == (crashes == 4)
    assert (shown["next_attempt_at"] is None) == (crashes == 4)
    assert (workspace.restart_due_at is None) == (crashes == 4)


@pytest.mark.parametrize("sign", ["\x1b[31m", "\x1b]8;;https://example.com\x07", "\u202e", "\x9b1m", "\x07"])
def test_the_log_of_a_crash_loop_is_shown_without_what_would_act_on_a_terminal(fake, client, sign):
    workspace = recover(crash(fake, online()), at=database_now() + timedelta(minutes=1))
    fake.simulate_exit(running_on(fake, workspace), exit_code=3, log_tail=f"last {sign}words")
    watch()
    row = listed(client)
    assert (row["crash_loop"]["log_tail"], row["failure"]["log_tail"]) == ("last words", "last words")


def test_the_last_state_says_that_the_policy_gave_up_and_why(fake, client):
    left = loop(fake, crashes=4)
    assert (left.status, left.failure_code, left.failure_owner) == (S.OFFLINE, "crash_loop", FailureOwner.IMAGE)
    assert "It is in a crash loop: 4 crashes. Its process exited with status 3" in left.failure_message
    assert "its restart policy gave up: it was restarted 3 times already" in left.failure_message
    # Where existing consoles look for it.
    assert listed(client)["last_sample_error"] == left.failure_message


def test_the_loop_stays_shown_while_a_restart_of_it_boots_and_is_online(fake, client):
    lost = loop(fake, crashes=2)
    again = recover(lost, at=lost.restart_due_at)
    row = listed(client)
    assert (row["status"], row["failure"]) == ("online", None)
    assert (row["crash_loop"]["count"], row["crash_loop"]["log_tail"]) == (2, "last words")
    client.force_login(get_user_model().objects.create_superuser("operator"))
    for page in ("/admin/workspaces/workspace/", f"/admin/workspaces/workspace/{again.pk}/change/"):
        text = client.get(page).content.decode()
        assert "2 crashes, restarted, attempt 2 of 3; the last process exited with status 3" in text
    assert "last words" in text
    output = StringIO()
    call_command("workspaces", stdout=output)
    assert "crash_loop: 2 crashes" in output.getvalue()


@pytest.mark.parametrize("verb", ["pause", "hibernate", "fail", "remove"])
def test_a_loop_ends_when_the_workspace_is_stopped_or_fails_to_boot(fake, client, verb):
    lost = loop(fake, crashes=2)
    if verb == "pause":
        operations.pause(lost.pk)
    else:
        begun = restart_crashed(now=lost.restart_due_at)[0] if verb == "fail" else recover(lost, at=lost.restart_due_at)
        act = {"fail": partial(operations.cancel, by="owner"), "hibernate": operations.hibernate}
        act.get(verb, operations.remove)(begun.pk)
    stored = Workspace.objects.get(pk=lost.pk)
    assert stored.status in {S.PAUSED, S.HIBERNATING, S.HIBERNATED, S.FAILED, S.REMOVED}
    assert stored.crash_loop == {}
    if verb == "fail":
        # What is shown is the failure of the boot.
        client.force_login(get_user_model().objects.create_superuser("operator"))
        page = client.get("/admin/workspaces/workspace/").content.decode()
        assert ("2 crashes" in page, "cancelled" in page) == (False, True)


def test_the_end_of_a_loop_is_told_although_silence_had_taken_the_workspace_offline(fake):
    workspace = recover(lost := loop(fake, crashes=3), at=lost.restart_due_at)
    Heartbeat.objects.filter(pk=workspace.pk).update(last_heartbeat_at=database_now() - timedelta(hours=1))
    sweep_silent()
    assert Workspace.objects.get(pk=workspace.pk).status == S.OFFLINE
    before = Event.objects.count()
    left = crash(fake, workspace, exit_code=3)
    assert left.crash_loop["gave_up"]
    (told,) = Event.objects.order_by("id")[before:]
    assert (told.event_type, told.version, told.payload["crash_loop"]["gave_up"]) == (
        EventType.WORKSPACE_OFFLINE,
        left.version,
        True,
    )
    assert misfits(told.event_type, told.payload) == []


@pytest.mark.django_db(transaction=True)
def test_a_locked_workspace_keeps_the_ended_loops_of_no_others(fake):
    lost = [loop(fake, crashes=2, workspace=online(name=name)) for name in "ab"]
    rows = [recover(each, at=each.restart_due_at) for each in lost]
    Launch.objects.filter(pk__in=[row.launch_id for row in rows]).update(ended_at=database_now() - timedelta(hours=1))

    def forget():
        try:
            return forget_ended_loops(now=database_now())
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads, transaction.atomic():
        Workspace.objects.select_for_update().get(pk=rows[0].pk)
        assert threads.submit(forget).result(PATIENCE_SECONDS) == 1
    assert [bool(Workspace.objects.get(pk=row.pk).crash_loop) for row in rows] == [True, False]
    assert forget_ended_loops(now=database_now()) == 1


def test_events_of_a_loop_say_so_from_its_second_crash_to_its_end(fake):
    workspace = loop(fake, crashes=4)
    told = [
        (event.event_type, event.payload.get("crash_loop", {}).get("count"))
        for event in Event.objects.filter(workspace_id=workspace.pk).order_by("id")
    ]
    offline, provisioning, is_online = (
        EventType.WORKSPACE_OFFLINE,
        EventType.WORKSPACE_PROVISIONING,
        EventType.WORKSPACE_ONLINE,
    )
    assert told == [
        *[(provisioning, None), (is_online, None), (offline, None), (provisioning, None), (is_online, None)],
        *[(offline, 2), (provisioning, 2), (is_online, 2), (offline, 3), (provisioning, 3), (is_online, 3)],
        (offline, 4),
    ]


@pytest.mark.parametrize("ended_by", ["ten minutes online", "an operator's restart"])
def test_a_loop_is_over_after_ten_minutes_online_or_an_operators_restart(fake, client, ended_by):
    lost = loop(fake, crashes=2)
    again = recover(lost, at=lost.restart_due_at)
    if ended_by == "ten minutes online":
        sweep_silent()
        assert listed(client)["crash_loop"] is not None
        Launch.objects.filter(pk=again.launch_id).update(ended_at=database_now() - timedelta(minutes=10))
        Heartbeat.objects.update(last_heartbeat_at=database_now())
        sweep_silent()
    else:
        restart(workspace_id=again.pk, now=database_now())
    now = Workspace.objects.get(pk=again.pk)
    assert (now.crash_loop, now.restart_attempts) == ({}, 0)


def test_a_clean_stop_after_a_crash_is_no_loop(fake):
    lost = loop(fake, crashes=1)
    stopped = crash(fake, recover(lost, at=lost.restart_due_at), exit_code=0)
    assert (stopped.failure_code, stopped.crash_loop) == (FailureCode.CRASHED, {})


def test_people_are_told_of_a_loop_once_when_the_policy_gives_up_and_programs_of_every_event(fake, receiver):
    chat = channel("chat", {"url": mattermost(receiver)})
    hook = channel("log", {"level": "INFO"})
    workspace = loop(fake, crashes=2)
    relay.number_all()
    deliver_all_due()
    for _ in range(2):
        workspace = recover(workspace, at=workspace.restart_due_at)
        workspace = crash(fake, workspace, exit_code=3)
        relay.number_all()
        deliver_all_due()
    texts = [json.loads(request.body)["text"] for request in receiver.received]
    titles = [next(line for line in text.splitlines() if "looping" in line) for text in texts]
    assert [title.split("looping ", 1)[1].rstrip("*") for title in titles] == [
        "is being launched",
        "is online",
        "is offline",
        "is being launched",
        "is online",
        r"is offline (crash\_loop)",
    ]
    assert "its restart policy gave up" in texts[-1]
    assert "crash loop" not in "".join(texts[:-1])
    moves = Event.objects.filter(workspace_id=workspace.pk).count()
    assert Delivery.objects.filter(channel=hook, state="delivered").count() == moves
    quiet = Delivery.objects.filter(channel=chat, history__0__answer=IN_CRASH_LOOP)
    assert quiet.count() == moves - len(texts)
