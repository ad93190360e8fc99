"""The commands of the operations: how they find workspaces, what they print, and how they exit."""

import io
import uuid

import pytest
from django.core.management import CommandError, call_command

from postgres.clock import database_now
from tests.workspaces.factories import booting, external, hibernated, online
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Heartbeat, Workspace
from workspaces.operations import OPERATIONS
from workspaces.services.stopping.pause import pause
from workspaces.services.stopping.remove import remove

pytestmark = pytest.mark.django_db
S = WorkspaceStatus
COMMANDS = [operation.name for operation in OPERATIONS if not operation.is_admin_only]


def output_of(*arguments):
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def refusal_of(*arguments):
    """Run a command that exits with 1 because something was refused. Return its output."""
    out = io.StringIO()
    with pytest.raises(SystemExit) as exit_:
        call_command(*arguments, stdout=out)
    assert exit_.value.code == 1
    return out.getvalue()


def status(workspace):
    return Workspace.objects.values_list("status", flat=True).get(pk=workspace.pk)


@pytest.mark.parametrize(
    ("verb", "make", "sentence", "becomes"),
    [
        ("pause", online, "1 paused.", S.PAUSED),
        ("hibernate", online, "1 hibernating.", S.HIBERNATING),
        ("wake", hibernated, "1 woken.", S.PROVISIONING),
        ("restart", online, "1 restarted.", S.PROVISIONING),
        ("remove", online, "1 removed.", S.REMOVED),
        ("cancel", booting, "1 cancelled.", S.FAILED),
    ],
)
def test_operations_find_workspaces_by_name_and_by_id(verb, make, sentence, becomes):
    named, by_id = make(name="named"), make(name="other")
    assert output_of(verb, "named") == f"{sentence}\n"
    assert output_of(verb, str(by_id.pk)) == f"{sentence}\n"
    assert (status(named), status(by_id)) == (becomes, becomes)


def test_pause_and_resume_count_descendants():
    parent = online(name="parent")
    online(name="child", parent_id=parent.pk)
    assert output_of("pause", "parent") == "2 paused.\n"
    assert output_of("resume", "parent") == "2 resumed.\n"


def test_parents_and_children_given_together_are_not_refused():
    parent = online(name="parent")
    online(name="child", parent_id=parent.pk)
    assert output_of("pause", "child", "parent") == "2 paused.\n"
    assert output_of("resume", "child", "parent") == "2 resumed.\n"
    assert output_of("remove", "--confirm", "child", "parent") == "2 removed.\n"


def test_refusals_are_reported_with_the_successes():
    online(name="up"), hibernated(name="asleep")
    assert refusal_of("hibernate", "up", "asleep") == (
        "1 hibernating, 1 refused: asleep is hibernated: it can't hibernate from there.\n"
    )


def test_busy_workspace_hibernates_only_by_force():
    busy = online(name="busy")
    Heartbeat.objects.filter(pk=busy.pk).update(active_tasks=1)
    assert "1 active tasks" in refusal_of("hibernate", "busy")
    assert output_of("hibernate", "--force", "busy") == "1 hibernating.\n"


def test_remove_needs_confirmation_if_there_are_children():
    parent = online(name="parent")
    online(name="child", parent_id=parent.pk)
    assert "child. Confirm to go on." in refusal_of("remove", "parent")
    assert status(parent) == S.ONLINE
    assert output_of("remove", "--confirm", "parent") == "2 removed.\n"


def test_restart_prints_the_new_token_of_an_external_workspace():
    external(name="mine", url="http://localhost:8080")
    assert output_of("restart", "mine").startswith("New token of mine (shown only once): ")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_workspace_changes_nothing(command):
    up = online(name="up")
    for unknown in ("down", str(uuid.uuid4()), "a\0b"):
        with pytest.raises(CommandError, match="There is no workspace") as error:
            output_of(command, "up", unknown)
        assert error.value.returncode == 2
    assert status(up) == S.ONLINE


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_not_utf_8_changes_nothing(command):
    up = online(name="up")
    with pytest.raises(CommandError, match=r"The argument workspaces is not UTF-8 text\.") as error:
        output_of(command, "up", "\udcff")
    assert error.value.returncode == 2
    assert status(up) == S.ONLINE


def test_an_ambiguous_name_is_refused_with_the_ids():
    one, other = online(name="same"), online(name="same")
    with pytest.raises(CommandError, match="Several workspaces are named") as error:
        output_of("pause", "same")
    assert str(one.pk) in str(error.value)
    assert str(other.pk) in str(error.value)
    # A removed workspace keeps its name, but is not found by it.
    remove(workspace_id=one.pk, confirmed=True, now=database_now())
    assert output_of("pause", "same") == "1 paused.\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples_and_exit_codes(command, capsys):
    with pytest.raises(SystemExit):
        call_command(command, "--help")
    text = capsys.readouterr().out
    assert f"manage.py {command} " in text
    assert "exit codes" in text


def test_resume_below_a_paused_ancestor_names_the_ancestor():
    parent = online(name="parent")
    child = online(name="child", parent_id=parent.pk)
    pause(workspace_id=parent.pk, now=database_now())
    assert "its ancestor parent is paused" in refusal_of("resume", str(child.pk))
