"""The admin: what it shows, who may use it, and how it answers bad input."""

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from postgres.clock import database_now
from tests.callers import AgentCaller
from tests.workspaces import factories
from workspaces.access import secrets
from workspaces.access.api_keys import find_api_key, mint_api_key
from workspaces.lifecycle.transitions import TeardownReason, WorkspaceStatus
from workspaces.models import ApiKey, Launch, Secret, Workspace
from workspaces.services.stopping.remove import remove

pytestmark = pytest.mark.django_db

LIST = "/admin/workspaces/workspace/"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
ADD = "/admin/workspaces/workspace/add/"
CONFIG = "name: pasted\nruntime: echo\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("operator"))
    return client


@pytest.fixture
def viewer(client):
    """A user with view permissions only."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    return client


def page_of(workspace):
    return reverse("admin:workspaces_workspace_change", args=[workspace.pk])


def verb_page(workspace, verb):
    return reverse(f"admin:workspaces_workspace_{verb}", args=[workspace.pk])


def text_of(answer):
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def status_of(workspace):
    return Workspace.objects.values_list("status", flat=True).get(pk=workspace.pk)


def select(client, action, *workspaces, **fields):
    data = {"action": action, "_selected_action": [str(each.pk) for each in workspaces], **fields}
    return client.post(LIST, data, follow=True)


# --- Pages ---------------------------------------------------------------------------------------


def test_every_page_opens(operator):
    failed, booting = factories.failed(), factories.booting()
    secrets.put_secrets({"TOKEN": "t0p"}, workspace_id=None)
    pages = ["/admin/"]
    for model in (
        "workspaces_workspace",
        "workspaces_launch",
        "workspaces_secret",
        "workspaces_apikey",
        "events_event",
    ):
        pages.append(reverse(f"admin:{model}_changelist"))
    for model in ("workspaces_workspace", "workspaces_secret", "workspaces_apikey", "auth_user", "auth_group"):
        pages.append(reverse(f"admin:{model}_add"))
    for workspace in (failed, booting):
        pages += [page_of(workspace), verb_page(workspace, "history"), verb_page(workspace, "remove")]
        pages.append(reverse("admin:workspaces_launch_change", args=[workspace.launch_id]))
    pages.append(reverse("admin:workspaces_secret_change", args=[Secret.objects.get().pk]))

    answers = {page: operator.get(page).status_code for page in pages}

    assert set(answers.values()) == {200}, answers


def test_list_shows_status_phase_deadline_and_failure(operator):
    factories.booting(name="slow")
    factories.failed(name="broken")

    page = text_of(operator.get(LIST))

    for expected in (
        "slow",
        "slipway-status-provisioning",
        "booting",
        "data-until",
        "slipway-status-failed",
        "crashed",
    ):
        assert expected in page


@pytest.mark.parametrize(
    ("query", "shown"), [("", {"kept"}), ("?status=all", {"kept", "gone"}), ("?status=removed", {"gone"})]
)
def test_list_hides_removed_workspaces_unless_asked(operator, query, shown):
    factories.online(name="kept")
    remove(workspace_id=factories.online(name="gone").pk, confirmed=False, now=database_now())

    page = text_of(operator.get(LIST + query))

    assert {name for name in ("kept", "gone") if f'title="{name}"' in page} == shown


def test_empty_list_says_how_to_launch_one(operator):
    assert "No workspaces yet" in text_of(operator.get(LIST))


def test_list_is_found_by_name_and_by_id(operator):
    wanted, other = factories.online(name="wanted"), factories.online(name="other")
    for query in ("wante", str(wanted.pk), str(wanted.pk)[:8]):
        page = text_of(operator.get(LIST, {"q": query}))
        assert str(wanted.pk) in page
        assert str(other.pk) not in page


def test_lists_take_the_same_number_of_queries_with_3_and_with_30_rows(operator):
    pages = [LIST] + [reverse(f"admin:{model}_changelist") for model in ("workspaces_launch", "events_event")]
    for _ in range(3):
        factories.booting()
    few = {page: _queries(operator, page) for page in pages}
    for _ in range(27):
        factories.booting()

    many = {page: _queries(operator, page) for page in pages}

    assert many == few
    # Session, user, position, two counts, runtimes, rows.
    assert many[LIST] <= 8


def _queries(client, page):
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(page).status_code == 200
    return len(captured)


def test_failed_workspace_shows_its_reason_and_the_end_of_its_log(operator):
    page = text_of(operator.get(page_of(factories.failed())))

    for expected in ("It broke.", "last words", "Bootstrap watcher", "WORKSPACE_PROVISION_FAILED", "crashed"):
        assert expected in page


def test_page_says_that_no_runtime_command_is_set(operator):
    bare = factories.booting()
    commanded = factories.booting(config=factories.config_for("echo", "runtime_config: {command: sleep 9}\n"))

    assert "No runtime command is set" in text_of(operator.get(page_of(bare)))
    assert "No runtime command is set" not in text_of(operator.get(page_of(commanded)))


def test_page_of_a_failed_workspace_shows_what_was_known(operator):
    failed = factories.failed()

    page = text_of(operator.get(page_of(failed)))

    began = failed.failure_known["phase_entered_at"]
    assert "Phase began" in page
    assert f"{began[:10]} {began[11:19]} UTC</time>" in page


def test_page_of_a_wedged_workspace_says_so(operator):
    workspace = factories.online()
    assert "Runtime state" not in text_of(operator.get(page_of(workspace)))
    AgentCaller(workspace).beat(runtime_state="wedged")
    page = text_of(operator.get(page_of(workspace)))
    assert "Runtime state" in page
    assert "wedged" in page


def test_page_escapes_what_an_agent_wrote(operator):
    workspace = factories.booting()
    script = "<script>alert(1)</script>"
    Workspace.objects.filter(pk=workspace.pk).update(progress_step=script, progress_detail=script)
    Launch.objects.filter(pk=workspace.launch_id).update(last_step="install", last_step_detail=script)

    launch = f"/admin/workspaces/launch/{workspace.launch_id}/change/"
    for page in (LIST, page_of(workspace), launch):
        assert "<script>alert(1)" not in text_of(operator.get(page))
    assert "install · &lt;script&gt;" in text_of(operator.get(launch))


def test_first_page_counts_by_status(operator):
    factories.online()
    factories.failed()

    answer = operator.get("/admin/")

    numbers = {count["status"]: count["number"] for count in answer.context["counts"]}
    assert (numbers["online"], numbers["failed"], numbers["paused"]) == (1, 1, 0)


# --- Create --------------------------------------------------------------------------------------


def test_create_from_a_pasted_config(operator):
    answer = operator.post(ADD, {"config": CONFIG, "secrets": "KEY=value", "name": "mine"})

    workspace = Workspace.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, page_of(workspace))
    assert (workspace.name, workspace.status) == ("mine", WorkspaceStatus.PROVISIONING)
    assert secrets.read_environment(workspace.pk) == {"KEY": "value"}


def test_create_from_a_template(operator):
    operator.post(ADD, {"template": "echo"})

    assert Workspace.objects.get().template == "echo"


REFUSED = {
    "neither": ({}, "template"),
    "both": ({"template": "echo", "config": CONFIG}, "config"),
    "unknown template": ({"template": "nope"}, "template"),
    "no yaml": ({"config": "a: [1,\nb: 2"}, "config"),
    "a wrong type": ({"config": "runtime_config: 3"}, "config"),
    "a bomb": ({"config": BOMB}, "config"),
    "nested too deep": ({"config": "[" * 5000}, "config"),
    "a NUL in the config": ({"config": CONFIG + "x: \0"}, "config"),
    "a NUL in the name": ({"config": CONFIG, "name": "a\0b"}, "name"),
    "a control character in the name": ({"config": CONFIG, "name": "a\x1bb"}, "name"),
    "a name too long": ({"config": CONFIG, "name": "n" * 101}, "name"),
    "a model too long": ({"config": CONFIG, "model": "m" * 201}, "model"),
    "a limit in words": (
        {"config": CONFIG, "provision_timeout_seconds": "soon"},
        "provision_timeout_seconds",
    ),
    "a limit of nothing": ({"config": CONFIG, "provision_timeout_seconds": "0"}, "provision_timeout_seconds"),
    "a huge limit": ({"config": CONFIG, "provision_timeout_seconds": "9" * 30}, "provision_timeout_seconds"),
    "no assignment": ({"config": CONFIG, "secrets": "s3cr3t-without-a-name"}, "secrets"),
    "a reserved name": ({"config": CONFIG, "secrets": "PORT=s3cr3t"}, "secrets"),
    "a NUL in a secret": ({"config": CONFIG, "secrets": "A=s3cr3t\0"}, "secrets"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_create_shows_an_error_at_its_field_and_creates_nothing(operator, case):
    data, field = REFUSED[case]

    answer = operator.post(ADD, data)

    page = text_of(answer)
    assert field in answer.context["form"].errors
    assert "Nothing was created" in page
    assert not Workspace.objects.exists()
    assert "s3cr3t" not in page


def test_refused_create_keeps_the_input_except_secrets(operator):
    page = text_of(operator.post(ADD, {"config": "name: [", "name": "kept", "secrets": "KEY=s3cr3t"}))

    assert 'value="kept"' in page
    assert "name: [" in page
    assert "(line 2, column 1)" in page
    assert "s3cr3t" not in page
    assert "Enter the secrets again" in page


def test_a_config_of_5_mb_is_refused_at_its_field(operator):
    answer = operator.post(ADD, {"config": "x" * 5_000_000})

    assert answer.context["form"].errors["config"] == ["config.yaml is larger than 256 KiB."]
    assert not Workspace.objects.exists()


def test_a_form_that_is_too_large_gets_a_page_that_says_so(operator):
    answer = operator.post(ADD, {"config": "x" * 9_000_000})

    assert answer.status_code == 413
    assert "This form holds more than 8 MiB. Nothing was changed." in answer.content.decode()
    assert not Workspace.objects.exists()


# --- Change --------------------------------------------------------------------------------------


def test_saving_writes_the_settings_and_nothing_else(operator):
    workspace = factories.booting(name="before")
    data = {"name": "after", "role": "", "tier": "2", "labels": "team=core", "provision_timeout_seconds": "60"}
    data |= {"hibernation_idle_minutes": "15", "restart_policy": "never"}

    operator.post(page_of(workspace), {**data, "status": "online", "phase": "queued", "version": "99"})

    changed = Workspace.objects.get(pk=workspace.pk)
    assert (changed.name, changed.tier, changed.labels) == ("after", 2, {"team": "core"})
    assert (changed.hibernation_idle_minutes, changed.restart_policy) == (15, "never")
    kept = ("status", "phase", "version", "deadline_at", "launch_id", "phase_entered_at")
    assert [getattr(changed, name) for name in kept] == [getattr(workspace, name) for name in kept]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "n" * 101),
        ("name", "a\0b"),
        ("name", "a\x07b"),
        ("role", "r" * 201),
        ("tier", "0"),
        ("tier", "99999999999999999999"),
        ("labels", "no equals sign"),
        ("labels", "k=" + "v" * 300),
        ("labels", "k=\x00"),
        ("provision_timeout_seconds", "-5"),
        ("hibernation_idle_minutes", "0"),
        ("hibernation_idle_minutes", "99999999999"),
        ("restart_policy", "always"),
    ],
)
def test_change_shows_an_error_at_its_field_and_writes_nothing(operator, field, value):
    workspace = factories.online(name="same")
    data = {"name": "same", "role": "", "tier": "1", "labels": "", "provision_timeout_seconds": ""}
    data |= {"restart_policy": "on-failure"}

    answer = operator.post(page_of(workspace), {**data, field: value})

    assert answer.status_code == 200
    assert field in answer.context["adminform"].form.errors
    assert Workspace.objects.get(pk=workspace.pk).name == "same"


# --- Operations ----------------------------------------------------------------------------------


def test_restarting_several_reports_each_refusal(operator):
    online, gone = factories.online(), factories.online(name="gone")
    remove(workspace_id=gone.pk, confirmed=False, now=database_now())

    data = {"action": "restart_selected", "_selected_action": [str(online.pk), str(gone.pk)]}
    page = text_of(operator.post(LIST + "?status=all", data, follow=True))

    assert "1 restarted, 1 refused: gone is removed" in page
    assert status_of(online) == WorkspaceStatus.PROVISIONING


def test_remove_asks_first_and_names_the_descendants(operator):
    parent = factories.online(name="parent")
    child = factories.online(name="little-one", parent_id=parent.pk)

    asked = select(operator, "remove_selected", parent)
    assert "little-one" in text_of(asked)
    assert status_of(parent) == WorkspaceStatus.ONLINE

    done = select(operator, "remove_selected", parent, confirmed="yes")
    assert "2 removed." in text_of(done)
    assert {status_of(parent), status_of(child)} == {WorkspaceStatus.REMOVED}


def test_removing_a_parent_and_its_child_together_removes_both(operator):
    parent = factories.online(name="parent")
    child = factories.online(name="child", parent_id=parent.pk)

    assert "2 removed." in text_of(select(operator, "remove_selected", child, parent, confirmed="yes"))


def test_confirmation_page_changes_nothing(operator):
    online = factories.online()
    for verb in ("restart", "remove"):
        assert operator.get(verb_page(online, verb)).status_code == 200
    assert status_of(online) == WorkspaceStatus.ONLINE


def test_restart_and_remove_from_the_page_of_a_workspace(operator):
    workspace = factories.online()

    assert "1 restarted." in text_of(operator.post(verb_page(workspace, "restart"), follow=True))
    assert status_of(workspace) == WorkspaceStatus.PROVISIONING
    assert "1 removed." in text_of(operator.post(verb_page(workspace, "remove"), follow=True))
    assert status_of(workspace) == WorkspaceStatus.REMOVED


def test_removed_workspace_offers_no_operations(operator):
    gone = factories.online()
    remove(workspace_id=gone.pk, confirmed=False, now=database_now())

    assert verb_page(gone, "restart") not in text_of(operator.get(page_of(gone)))


@pytest.mark.parametrize("verb", ["", "restart/", "remove/"])
@pytest.mark.parametrize("key", [UNKNOWN, "nonsense", "%00", "x" * 500])
def test_unknown_workspace_is_not_found(operator, key, verb):
    assert operator.get(f"{LIST}{key}/{verb or 'change/'}").status_code in {302, 404}


@pytest.mark.parametrize(
    ("model", "action"), [("workspaces/workspace", "restart_selected"), ("workspaces/apikey", "revoke")]
)
@pytest.mark.parametrize("key", ["nonsense", "\0", "x" * 500])
def test_selection_that_is_not_an_id_is_refused(operator, model, action, key):
    online = factories.online()

    answer = operator.post(
        f"/admin/{model}/", {"action": action, "_selected_action": [key, str(online.pk)]}, follow=True
    )

    assert "The selection contains something that is not an ID." in text_of(answer)
    assert Workspace.objects.get(pk=online.pk).version == online.version


def test_launch_that_is_not_confirmed_gone_can_be_declared_gone(operator):
    workspace = factories.failed()
    Launch.objects.filter(pk=workspace.launch_id).update(
        teardown_reason=TeardownReason.FAILED, teardown_attempts=3, teardown_error="Its host does not answer."
    )
    address = reverse("admin:workspaces_launch_change", args=[workspace.launch_id])
    assert "Not confirmed gone after 3 attempts" in text_of(operator.get(page_of(workspace)))
    assert "declare-gone/" in text_of(operator.get(address))
    assert "could not confirm" in text_of(operator.get(address.replace("change/", "declare-gone/")))

    done = text_of(operator.post(address.replace("change/", "declare-gone/"), follow=True))

    assert "1 launch was declared gone." in done
    assert Launch.objects.get(pk=workspace.launch_id).torn_down_at is not None


# --- Permissions ---------------------------------------------------------------------------------


def test_viewer_sees_everything_without_buttons(viewer):
    workspace = factories.failed()

    listed, page = text_of(viewer.get(LIST)), text_of(viewer.get(page_of(workspace)))

    assert workspace.name in listed
    assert "It broke." in page
    for offered in ("restart_selected", "remove_selected", "restart/", "remove/", "_save", ADD):
        assert offered not in listed + page


def test_viewer_can_run_no_operation(viewer):
    workspace = factories.failed()
    launch = reverse("admin:workspaces_launch_change", args=[workspace.launch_id])

    for path in (verb_page(workspace, "restart"), verb_page(workspace, "remove"), ADD, page_of(workspace)):
        assert viewer.post(path, {"config": CONFIG, "name": "n"}).status_code == 403, path
    assert viewer.post(launch.replace("change/", "declare-gone/")).status_code == 403
    select(viewer, "remove_selected", workspace, confirmed="yes")
    assert status_of(workspace) == WorkspaceStatus.FAILED
    assert Workspace.objects.count() == 1


def test_rows_can_not_be_deleted(operator):
    workspace = factories.failed()
    launch = reverse("admin:workspaces_launch_delete", args=[workspace.launch_id])

    for path in (reverse("admin:workspaces_workspace_delete", args=[workspace.pk]), launch):
        assert operator.post(path, {"post": "yes"}).status_code == 403
    assert "delete_selected" not in text_of(operator.get(LIST))


def test_anonymous_users_are_sent_to_the_login(client):
    for path in (LIST, ADD, page_of(factories.online())):
        assert client.get(path)["Location"].startswith("/admin/login/")


# --- Query strings -------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["workspaces/workspace", "workspaces/launch", "workspaces/secret", "events/event"])
@pytest.mark.parametrize(
    "query",
    [
        "status=bogus",
        "status__exact=bogus",
        "runtime=%00",
        "name__contains=%00",
        "q=%00",
        "q=" + "x" * 3000,
        "o=99.-99.x",
        "p=x",
        "p=99999999999999999999",
        "workspace=nonsense",
        "event=nonsense",
        "workspace__failure_message__regex=((",
    ],
)
def test_no_query_string_of_a_list_makes_a_server_error(operator, model, query):
    assert operator.get(f"/admin/{model}/?{query}").status_code < 500


# --- Events --------------------------------------------------------------------------------------


def test_events_are_filtered_by_workspace_and_show_their_payload(operator):
    mine, other = factories.failed(), factories.booting()
    page = operator.get(reverse("admin:events_event_changelist"), {"workspace": str(mine.pk)})

    found = page.context["cl"].result_list
    assert {event.workspace_id for event in found} == {mine.pk}
    assert other.pk != mine.pk
    detail = text_of(operator.get(reverse("admin:events_event_change", args=[found[0].pk])))
    assert "It broke." in detail


# --- Secrets and keys ----------------------------------------------------------------------------


def test_secret_is_added_replaced_and_never_shown(operator):
    workspace = factories.online()
    add = reverse("admin:workspaces_secret_add")
    data = {"workspace": str(workspace.pk), "name": "KEY"}

    operator.post(add, {**data, "value": "first-s3cr3t"})
    operator.post(add, {**data, "value": "second-s3cr3t"})
    assert secrets.read_environment(workspace.pk) == {"KEY": "second-s3cr3t"}
    secret = Secret.objects.get()
    change = reverse("admin:workspaces_secret_change", args=[secret.pk])
    operator.post(change, {"value": "third-s3cr3t"})

    assert secrets.read_environment(workspace.pk) == {"KEY": "third-s3cr3t"}
    pages = [
        text_of(operator.get(path))
        for path in (change, reverse("admin:workspaces_secret_changelist"), f"{change.replace('change', 'history')}")
    ]
    assert not any("s3cr3t" in page or secret.ciphertext in page for page in pages)


@pytest.mark.parametrize(
    "data",
    [
        {"name": "1BAD", "value": "s3cr3t"},
        {"name": "PORT", "value": "s3cr3t"},
        {"name": "A\0", "value": "s3cr3t"},
        {"name": "N" * 300, "value": "s3cr3t"},
        {"name": "OK", "value": "s3cr3t\0"},
        {"name": "OK", "value": "  "},
        {"name": "OK", "value": "s3cr3t" * 20_000},
        {"name": "OK"},
        {"name": "OK", "value": "s3cr3t", "workspace": "nonsense"},
        {"name": "OK", "value": "s3cr3t", "workspace": UNKNOWN},
    ],
)
def test_bad_secret_is_refused_and_not_sent_back(operator, data):
    answer = operator.post(reverse("admin:workspaces_secret_add"), data)

    assert answer.context["adminform"].form.errors
    assert not Secret.objects.exists()
    assert "s3cr3t" not in text_of(answer)


def test_api_key_is_shown_once_and_revoked(operator):
    made = operator.post(reverse("admin:workspaces_apikey_add"), {"name": "ci", "scopes": ["read"]})
    [(_, key)] = made.context["values"]
    assert key in text_of(made)
    row = find_api_key(key)
    assert row is not None
    assert row.name == "ci"

    changelist = reverse("admin:workspaces_apikey_changelist")
    assert key not in text_of(operator.get(changelist))
    operator.post(changelist, {"action": "revoke", "_selected_action": [str(row.pk)]})
    assert find_api_key(key) is None


def test_name_expiry_and_networks_of_a_key_change_and_its_scopes_and_a_revoked_key_do_not(operator):
    row, _ = mint_api_key(name="ci", scopes=["read"])
    page = reverse("admin:workspaces_apikey_change", args=[row.pk])
    form = {"name": "ci2", "scopes": ["admin"], "expires_at_0": "2096-01-31", "expires_at_1": "12:00"}
    assert operator.post(page, form | {"networks": "10.0.0.0/8\r\n192.0.2.7"}).status_code == 302
    changed = ApiKey.objects.get()
    assert (changed.name, changed.scopes, changed.networks) == ("ci2", ["read"], ["10.0.0.0/8", "192.0.2.7/32"])
    assert changed.expires_at.isoformat() == "2096-01-31T12:00:00+00:00"
    shown = text_of(operator.get(reverse("admin:workspaces_apikey_changelist")))
    assert "10.0.0.0/8, 192.0.2.7/32" in shown
    assert "Never" in shown

    ApiKey.objects.update(expires_at="2026-01-31T12:00Z")
    assert "Expired" in text_of(operator.get(reverse("admin:workspaces_apikey_changelist")))
    expired = form | {"name": "ci3", "expires_at_0": "2026-01-31", "networks": ""}
    assert operator.post(page, expired).status_code == 302
    assert ApiKey.objects.get().networks == []

    ApiKey.objects.update(revoked_at="2026-01-31T12:00Z")
    assert operator.get(page).status_code == 200
    assert operator.post(page, form).status_code == 403
    assert ApiKey.objects.get().name == "ci3"


@pytest.mark.parametrize(
    "data",
    [
        {"name": "x"},
        {"name": "x", "scopes": ["root"]},
        {"name": "a\0", "scopes": ["read"]},
        {"name": "x", "scopes": ["read"], "networks": "10.0.0.1/8"},
        {"name": "x", "scopes": ["read"], "expires_at_0": "2020-01-01", "expires_at_1": "12:00"},
    ],
)
def test_bad_api_key_is_refused(operator, data):
    assert operator.post(reverse("admin:workspaces_apikey_add"), data).status_code == 200
    assert not ApiKey.objects.exists()
