"""A template that is edited while workspaces of it exist."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.urls import reverse

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.callers import holder
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import bring_online
from workspaces import retention, tasks
from workspaces.configuration.effective import store
from workspaces.deadlines.policy import current_policy
from workspaces.lifecycle.transitions import FailureCode, WorkspaceStatus
from workspaces.models import ApiScope, Configuration, Launch, LaunchOutcome, Workspace
from workspaces.provisioners.base import LaunchKey, ProvisionerError
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.launching.fail import cancel
from workspaces.services.watching.crash_recovery import restart_crashed
from workspaces.services.watching.sweep import sweep_stuck
from workspaces.services.watching.watch import watch_online

pytestmark = pytest.mark.django_db(transaction=True)

GOOD = "name: tester\nruntime: echo\n"
NEEDS_A_KEY = f"{GOOD}runtime_config: {{required_env: [NEW_KEY]}}\n"
TOLD = "Its template tester has changed since"


@pytest.fixture
def template(settings, tmp_path):
    settings.CATALOG_DIRS = [tmp_path]
    file = tmp_path / "tester" / "config.yaml"
    file.parent.mkdir()
    file.write_text(GOOD)
    (file.parent / "SOUL.md").write_text("kind")
    return file


def launch(workspace):
    workspace.refresh_from_db()
    tasks.launch(workspace_id=str(workspace.pk), launch_id=str(workspace.launch_id))
    workspace.refresh_from_db()
    return workspace


def spec_of(fake, workspace):
    return fake.specs[LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id)]


def create_online():
    workspace = create(CreateRequest(template="tester"), now=database_now()).workspace
    return bring_online(launch(workspace), now=database_now())


def restart(workspace, query=""):
    answer = holder(ApiScope.OPERATE).post(f"/workspaces/{workspace.pk}/restart{query}")
    workspace.refresh_from_db()
    return answer


EDITS = {
    "a new variable": (lambda file: file.write_text(NEEDS_A_KEY), FailureCode.MISSING_ENV),
    "bad YAML": (lambda file: file.write_text("name: [\n"), FailureCode.BAD_CONFIG),
    "a long runtime": (lambda file: file.write_text(f"name: tester\nruntime: {'x' * 64}\n"), FailureCode.BAD_CONFIG),
    "a runtime of two lines": (lambda file: file.write_text('runtime: "echo\\nx"\n'), FailureCode.BAD_CONFIG),
    "a bad file beside it": (lambda file: (file.parent / "x").symlink_to("/etc/passwd"), FailureCode.BAD_CONFIG),
    "no template": (lambda file: file.rename(file.with_name("config.bak")), FailureCode.BAD_CONFIG),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_failure_after_the_template_changed_says_so_and_the_workspace_can_be_relaunched_as_before(
    edit, template, fake, admin_client
):
    change, code = EDITS[edit]
    workspace = create_online()
    change(template)
    restart(workspace)
    launch(workspace)
    assert (workspace.status, workspace.failure_code) == (WorkspaceStatus.FAILED, code)
    assert TOLD in workspace.failure_message
    event = Event.objects.get(workspace_id=workspace.pk, event_type=EventType.WORKSPACE_PROVISION_FAILED)
    assert event.payload["known"]["configured_otherwise_at"] == workspace.failure_known["configured_otherwise_at"]
    page = admin_client.get(reverse("admin:workspaces_workspace_change", args=[workspace.pk])).content.decode()
    assert "Relaunch as before" in page
    assert "Template changed since the launch of" in page
    assert restart(workspace, "?previous_configuration=true").status_code == 200
    launch(workspace)
    assert (workspace.status, workspace.failure_code) == (WorkspaceStatus.PROVISIONING, "")
    spec = spec_of(fake, workspace)
    assert spec.config == {"name": "tester", "runtime": "echo"}
    assert spec.files == {"SOUL.md": b"kind"}


LONG = f"name: tester\nruntime: {'x' * 64}\n"


def test_a_runtime_that_is_too_long_fails_the_launch_by_name_and_harms_no_other_workspace(template, fake):
    crashed, untouched = create_online(), create_online()
    waiting = create(CreateRequest(template="tester"), now=database_now()).workspace
    template.write_text(LONG)
    fake.simulate_exit(LaunchKey(workspace_id=crashed.pk, launch_id=crashed.launch_id), exit_code=1)
    watch_online(clock=database_now)
    Workspace.objects.filter(pk=crashed.pk).update(restart_due_at=database_now())
    assert restart_crashed(now=database_now())
    for workspace in (waiting, crashed):
        launch(workspace)
        assert (workspace.status, workspace.failure_code) == (WorkspaceStatus.FAILED, FailureCode.BAD_CONFIG)
        assert "runtime: must have at most 63 characters, not 64 (line 2, column 1)." in workspace.failure_message
        assert "Correct the template tester, then restart." in workspace.failure_message
        assert workspace.runtime == "echo"
    sweep_stuck(now=database_now(), policy=current_policy())
    untouched.refresh_from_db()
    assert untouched.status == WorkspaceStatus.ONLINE
    reader = holder(ApiScope.READ)
    assert len(reader.get("/workspaces").json()) == 3
    assert reader.get("/settings/deadlines").status_code == 200
    (listed,) = reader.get("/templates").json()
    assert "at most 63 characters" in listed["problem"]
    refused = holder(ApiScope.OPERATE).post("/workspaces", {"name": "new", "template": "tester"})
    assert (refused.status_code, "at most 63 characters" in refused.json()["fields"]["template"]) == (422, True)


def test_a_workspace_keeps_its_configuration_until_the_next_plain_restart(template, fake):
    workspace = create_online()
    template.write_text(GOOD + "role: edited\n")
    restart(workspace, "?previous_configuration=true")
    bring_online(launch(workspace), now=database_now())
    fake.simulate_exit(LaunchKey(workspace_id=workspace.pk, launch_id=workspace.launch_id), exit_code=1)
    watch_online(clock=database_now)
    Workspace.objects.filter(pk=workspace.pk).update(restart_due_at=database_now())
    assert restart_crashed(now=database_now())
    launch(workspace)
    assert "role" not in spec_of(fake, workspace).config
    restart(workspace)
    launch(workspace)
    assert spec_of(fake, workspace).config["role"] == "edited"


def cancel_queued(workspace):
    restart(workspace)
    cancel(workspace_id=workspace.pk, by="ann", now=database_now())


NOTHING_CHANGED = {
    "online": lambda workspace: None,
    "queued": restart,
    "queued as before": lambda workspace: restart(workspace, "?previous_configuration=true"),
    "cancelled while queued": cancel_queued,
    "launched again": lambda workspace: (restart(workspace), launch(workspace)),
}


@pytest.mark.parametrize("condition", NOTHING_CHANGED)
def test_relaunching_as_before_is_not_offered_if_nothing_has_changed(condition, template, fake, admin_client):
    workspace = create_online()
    NOTHING_CHANGED[condition](workspace)
    page = admin_client.get(reverse("admin:workspaces_workspace_change", args=[workspace.pk])).content.decode()
    assert "Relaunch as before" not in page


@pytest.mark.parametrize("edit", [lambda file: None, lambda file: file.write_text(GOOD)])
def test_nothing_is_said_of_a_template_that_is_the_same(edit, template, fake):
    workspace = create_online()
    edit(template)
    restart(workspace)

    def refuse(call, key):
        if call == "start":
            raise ProvisionerError("There is no room.")

    fake.before_call = refuse
    launch(workspace)
    assert workspace.status == WorkspaceStatus.FAILED
    assert TOLD not in workspace.failure_message


def test_launches_with_equal_configurations_share_a_row_whatever_their_number(template, fake):
    first, second = create_online(), create_online()
    (template.parent / "SOUL.md").write_text("stern")
    third = create_online()
    digests = [Launch.objects.get(pk=each.launch_id).configuration_id for each in (first, second, third)]
    assert digests[0] == digests[1] != digests[2]
    assert Configuration.objects.count() == 2


def test_a_prune_meanwhile_does_not_delete_the_configuration_of_a_launch_that_fails(template, fake, monkeypatch):
    workspace = create(CreateRequest(template="tester"), now=database_now()).workspace
    template.write_text(NEEDS_A_KEY)

    def prune():
        try:
            retention.delete_configurations(database_now())
        finally:
            connection.close()

    def store_and_prune(configuration):
        stored = store(configuration)
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(prune).result(PATIENCE_SECONDS)
        return stored

    monkeypatch.setattr("workspaces.services.launching.launch.store", store_and_prune)
    assert launch(workspace).failure_code == FailureCode.MISSING_ENV
    assert Launch.objects.get().configuration.text == NEEDS_A_KEY


def test_a_workspace_that_never_came_online_has_no_configuration_to_go_back_to(template, fake):
    workspace = launch(create(CreateRequest(template="tester"), now=database_now()).workspace)
    refused = restart(workspace, "?previous_configuration=true")
    assert refused.status_code == 409
    assert "no launch that came online" in refused.json()["error"]
    assert Launch.objects.get().outcome == LaunchOutcome.IN_FLIGHT
