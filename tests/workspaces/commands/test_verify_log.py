"""`manage.py verify_log` reports every difference between events and rows."""

import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from events.models import Event
from events.names import EventType
from tests.workspaces.factories import booting, bring_online, failed, online, queued
from tests.workspaces.unguarded import set_status, unguarded
from workspaces.lifecycle.transitions import TRANSITIONS, WorkspaceStatus
from workspaces.log_verification import TARGETS, differences
from workspaces.models import Workspace
from workspaces.services.launching.restart import restart
from workspaces.services.stopping.remove import remove

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command("verify_log", *arguments, stdout=out)
    return out.getvalue()


def test_each_event_of_a_status_change_means_one_status():
    assert len(TARGETS) == len({(row.event, row.target) for row in TRANSITIONS})


def test_real_histories_have_no_difference():
    queued()
    failed()
    workspace = online()
    for _ in range(2):
        restart(workspace_id=workspace.pk, now=workspace.created_at)
    bring_online(Workspace.objects.get(pk=workspace.pk))
    remove(workspace_id=workspace.pk, confirmed=True, now=workspace.created_at)
    assert run() == "3 workspaces replayed, no difference.\n"
    assert run(str(workspace.pk)) == "1 workspaces replayed, no difference.\n"


def of(workspace):
    return Event.objects.filter(workspace_id=workspace.pk, is_move=True).order_by("version")


PLANTED = {
    "another status": (
        lambda row: set_status(row, WorkspaceStatus.PAUSED),
        "its row is paused, but the log's last move",
    ),
    "another version": (
        lambda row: Workspace.objects.filter(pk=row.pk).update(version=F("version") + 1),
        "its row is at version 4, but the log ends with version 3",
    ),
    "a move without its event": (lambda row: of(row).last().delete(), "the log ends with version 2"),
    "a gap": (
        lambda row: of(row).filter(version=2).delete(),
        "version 1 (WORKSPACE_PROVISIONING) is followed by version 3",
    ),
    "an edge that is none": (
        lambda row: of(row).filter(version=2).update(event_type=EventType.WORKSPACE_REMOVED),
        "leads from removed to",
    ),
    "another beginning": (
        lambda row: of(row).filter(version=1).update(event_type=EventType.WORKSPACE_PAUSED),
        "which doesn't create a workspace",
    ),
    "a move by an event that is none": (
        lambda row: of(row).filter(version=2).update(event_type=EventType.AGENT_CARD_UPDATED),
        "is marked as a move, but no verb writes such an event",
    ),
    "no event at all": (lambda row: of(row).delete(), "the log has no move of it"),
    "a log without a row": (
        lambda row: of(row).update(workspace_id=uuid.uuid4()),
        "the log has moves of it, but it has no row",
    ),
}


@pytest.mark.parametrize(("plant", "message"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_difference_is_reported(plant, message):
    sound, broken = online(), online()
    restart(workspace_id=broken.pk, now=broken.created_at)
    with unguarded():
        plant(broken)
    _, found = differences()
    assert any(message in str(difference) for difference in found), found
    assert not [difference for difference in found if difference.workspace_id == sound.pk]
    with pytest.raises(CommandError, match="differences in 2 workspaces") as failure:
        run()
    assert failure.value.returncode == 1


def test_a_history_whose_beginning_was_pruned_is_replayed_from_the_oldest_kept():
    workspace = online()
    restart(workspace_id=workspace.pk, now=workspace.created_at)
    with unguarded():
        of(workspace).filter(version=1).delete()
    assert differences(workspace.pk) == (1, [])


def test_other_events_are_not_replayed():
    workspace = booting()
    Event.objects.create(
        event_type=EventType.AGENT_CARD_UPDATED, workspace_id=workspace.pk, version=workspace.version, is_move=False
    )
    assert differences(workspace.pk) == (1, [])


@pytest.mark.parametrize(
    ("argument", "message"), [("nonsense", "not a workspace ID"), (str(uuid.UUID(int=7)), "There is no")]
)
def test_an_unknown_workspace_is_refused(argument, message):
    with pytest.raises(CommandError, match=message):
        run(argument)
