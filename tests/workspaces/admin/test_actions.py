"""Operations in the admin: which buttons a page offers, and which operations ask first."""

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from tests.workspaces.factories import booting, hibernated, online
from tests.workspaces.unguarded import set_status
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Heartbeat, Workspace
from workspaces.operations import OPERATIONS

pytestmark = pytest.mark.django_db
S = WorkspaceStatus
LIST = "/admin/workspaces/workspace/"
BUTTONS = {operation.name: operation.sources for operation in OPERATIONS}


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("operator"))
    return client


def page_of(workspace, verb="change"):
    return reverse("admin:workspaces_workspace_change", args=[workspace.pk]).replace("/change/", f"/{verb}/")


def select(client, action, *workspaces, **fields):
    data = {"action": action, "_selected_action": [str(each.pk) for each in workspaces], **fields}
    return str(client.post(LIST, data, follow=True).content.decode())


def status(workspace):
    return Workspace.objects.values_list("status", flat=True).get(pk=workspace.pk)


def offered_to(client, workspace):
    page = client.get(page_of(workspace)).content.decode()
    return {verb for verb in BUTTONS if f'href="{page_of(workspace, verb)}"' in page}


@pytest.mark.parametrize("at", S)
def test_page_offers_the_operations_that_the_status_allows(operator, at):
    workspace = online()
    set_status(workspace, at)
    # `relaunch-as-before` also needs an earlier configuration; see test_configuration_changes.py.
    possible = {verb for verb, sources in BUTTONS.items() if at in sources}
    assert offered_to(operator, workspace) == possible - {"relaunch-as-before"}


def test_a_paused_workspace_can_be_resumed_and_not_paused_again(operator):
    workspace = online()
    set_status(workspace, S.PAUSED)
    offered = offered_to(operator, workspace)
    assert "resume" in offered
    assert "pause" not in offered


@pytest.mark.parametrize(
    ("verb", "make", "becomes"),
    [
        ("pause", online, S.PAUSED),
        ("hibernate", online, S.HIBERNATING),
        ("force-hibernation", online, S.HIBERNATING),
        ("wake", hibernated, S.PROVISIONING),
        ("cancel", booting, S.FAILED),
    ],
)
def test_button_asks_before_it_acts(operator, verb, make, becomes):
    workspace = make(name="one")
    before = status(workspace)
    assert operator.get(page_of(workspace, verb)).status_code == 200
    assert status(workspace) == before
    operator.post(page_of(workspace, verb))
    assert status(workspace) == becomes


def test_pause_names_the_descendants_before_it_acts(operator):
    parent = online(name="parent")
    child = online(name="little-one", parent_id=parent.pk)
    asked = select(operator, "pause_selected", parent)
    assert "little-one" in asked
    assert "Descendants that will also be paused:" in asked
    assert status(parent) == S.ONLINE
    assert "2 paused." in select(operator, "pause_selected", parent, confirmed="yes")
    assert "2 resumed." in select(operator, "resume_selected", parent, child)


def test_busy_workspace_hibernates_only_by_force_which_asks_first(operator):
    busy = online(name="busy")
    Heartbeat.objects.filter(pk=busy.pk).update(active_tasks=1)
    assert "1 refused: busy is online: it has 1 active tasks" in select(operator, "hibernate_selected", busy)
    assert "Unsaved work is lost" in select(operator, "force_hibernation_selected", busy)
    assert status(busy) == S.ONLINE
    assert "1 hibernating." in select(operator, "force_hibernation_selected", busy, confirmed="yes")


def test_refusals_are_reported_with_the_successes(operator):
    asleep, up = hibernated(name="asleep"), online(name="up")
    page = select(operator, "wake_selected", asleep, up)
    assert "1 woken, 1 refused: up is online: it can&#x27;t wake from there." in page


def test_user_with_view_permission_can_run_no_operation(client):
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_workspace"))
    client.force_login(viewer)
    workspace = online()
    for verb in BUTTONS:
        assert client.post(page_of(workspace, verb)).status_code in {302, 403}
    select(client, "pause_selected", workspace, confirmed="yes")
    assert status(workspace) == S.ONLINE
