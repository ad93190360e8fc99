"""The preflight in the admin: on a workspace's page, on a page of its own, and as “Check only” of a new workspace."""

import html
import re

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from events.models import Event
from tests.workspaces import factories
from workspaces.access.secret_sets import create_set
from workspaces.access.secrets import put_secrets, read_environment
from workspaces.configuration import availability
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.models import Launch, Secret, Workspace
from workspaces.operations import remove
from workspaces.workers import NoWorker

pytestmark = pytest.mark.django_db

ADD = "/admin/workspaces/workspace/add/"
CONFIG = "rutime: x\nenv: {required: [A_KEY, {any_of: [B_KEY, C_KEY]}]}\n"
VALUE = "s3cr3t-s3cr3t"


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    asked = []

    def require_worker(queue):
        asked.append(queue)
        raise NoWorker("No launch worker is alive.")

    monkeypatch.setattr(availability, "require_worker", require_worker)
    availability.cache.clear()
    yield asked
    availability.cache.clear()


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("operator"))
    return client


def sign_in(client, *permissions):
    user = User.objects.create_user("some", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)


def page_of(workspace, name="change"):
    return reverse(f"admin:workspaces_workspace_{name}", args=[workspace.pk])


def text_of(answer):
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_of_a_workspace_has_its_preflight_and_variables_and_asks_no_worker(operator, no_worker):
    put_secrets({"C_KEY": VALUE}, workspace_id=None)
    text = text_of(operator.get(page_of(factories.queued(config=CONFIG))))
    assert "1 problem keeps its next launch from starting. The backend and the workers were not asked." in text
    assert "Missing required environment variable A_KEY." in text
    assert "Did you mean runtime?" in text
    assert "env.required[1]" in text
    assert VALUE not in text
    assert no_worker == []


def test_the_page_lists_the_variables_that_are_asked_for_and_counts_the_others(operator):
    workspace = factories.queued(config=CONFIG, secrets={f"OTHER_{number}": VALUE for number in range(3)})
    text = text_of(operator.get(page_of(workspace)))
    assert "<code>C_KEY</code>" in text
    assert "OTHER_1" not in text
    assert "It gets 3 variables that its configuration doesn't ask for." in html.unescape(text)
    assert "<code>OTHER_1</code>" in text_of(operator.get(page_of(workspace, "preflight")))


def test_its_own_page_asks_the_backend_and_the_workers(operator, no_worker):
    text = text_of(operator.get(page_of(factories.queued(config=CONFIG), "preflight")))
    assert "No launch worker is alive." in text
    assert "3 problems keep its next launch from starting." in text
    assert no_worker == ["launch"]


@pytest.mark.parametrize("name", ["change", "preflight"])
def test_who_may_not_view_secrets_sees_what_is_wrong_with_the_configuration_and_no_variable(client, name):
    sign_in(client, "view_workspace")
    workspace = factories.queued(config=CONFIG, secrets={"OTHER_KEY": "changeme"})
    warning = Diagnostic(code="suspicious_value", message="The value of OTHER_KEY is odd.", path="secrets.OTHER_KEY")
    Launch.objects.filter(pk=workspace.launch_id).update(warnings=[warning.as_json()])
    text = text_of(client.get(page_of(workspace, name)))
    assert "Did you mean runtime?" in text
    assert "A_KEY" not in text
    assert "OTHER_KEY" not in text


def test_who_may_not_view_workspaces_sees_no_preflight(client):
    sign_in(client, "view_secret")
    assert client.get(page_of(factories.queued(config=CONFIG), "preflight")).status_code == 403


def test_nothing_is_checked_of_an_external_and_of_a_removed_workspace(operator, no_worker):
    removed = factories.online()
    remove(removed.pk)
    for workspace in (factories.external(), removed):
        assert "Slipway doesn't launch this workspace" in text_of(operator.get(page_of(workspace, "preflight")))
        assert "keeps its next launch" not in text_of(operator.get(page_of(workspace)))
    assert no_worker == []


def test_the_page_takes_as_many_queries_for_many_secrets_as_for_one(operator):
    workspace, numbers = factories.queued(config=CONFIG), []
    # Django keeps what the first request reads of content types.
    operator.get(page_of(workspace))
    for number in range(3):
        put_secrets({f"KEY_{number}_{each}": VALUE for each in range(1 + 20 * number)}, workspace_id=workspace.pk)
        with CaptureQueriesContext(connection) as captured:
            operator.get(page_of(workspace))
        numbers.append(len(captured))
    assert len(set(numbers)) == 1, numbers


# --- Check only -----------------------------------------------------------------------------------


def test_check_only_names_every_problem_and_creates_nothing(operator):
    data = {"config": f"name: 5\n{CONFIG}", "secrets": f"B_KEY=changeme\n{VALUE}\nD_KEY={VALUE}", "_check": "1"}
    text = text_of(operator.post(ADD, {**data, "provision_timeout_seconds": "0"}))
    for expected in (
        "name: must be text, not a number (line 1, column 1).",
        "Missing required environment variable A_KEY.",
        "Line 2 is not NAME=VALUE",
        "The value of B_KEY looks like a placeholder.",
        "No launch worker is alive.",
        "Boot limit (seconds): Ensure this value is greater than or equal to 1.",
        "Enter the secrets again.",
    ):
        assert expected in text
    assert VALUE not in text
    assert [model.objects.count() for model in (Workspace, Secret, Event)] == [0, 0, 0]


def test_check_only_says_where_the_form_takes_what_is_missing(operator):
    text = html.unescape(text_of(operator.post(ADD, {"config": CONFIG, "_check": "1"})))
    assert "Missing required environment variable A_KEY. Add it under Secrets above, or to the global secrets" in text
    assert "then restart" not in text


def test_check_only_names_the_models_entry_that_needs_a_variable(operator):
    entry = "{id: hub/*, required_env: [HUB_TOKEN]}"
    config = f"name: w\nruntime: r\nruntime_config: {{models: [{entry}]}}\n"
    text = html.unescape(text_of(operator.post(ADD, {"config": config, "model": "hub/x", "_check": "1"})))
    assert 'HUB_TOKEN. Add it under Secrets above, or to the global secrets. The entry "hub/*"' in text


def test_the_form_shows_no_marks_of_its_source(operator):
    assert "`" not in text_of(operator.get(ADD))


def test_a_workspace_whose_launch_is_going_to_fail_is_not_said_to_wait_for_it(operator):
    page = html.unescape(text_of(operator.post(ADD, {"config": CONFIG, "name": "Greeter"}, follow=True)))
    why = "Greeter was created, but its launch fails: Missing required environment variable A_KEY."
    assert why in page
    assert "waiting for its launch" not in page


def test_a_workspace_that_can_be_launched_is_said_to_wait_for_it(operator):
    data = {"config": CONFIG, "secrets": f"A_KEY={VALUE}\nB_KEY={VALUE}", "name": "Greeter"}
    page = text_of(operator.post(ADD, data, follow=True))
    assert "Greeter was created and is waiting for its launch." in page
    assert "its launch fails" not in page


def test_check_only_of_a_good_request_says_so_and_it_can_be_created_afterwards(operator, monkeypatch):
    monkeypatch.setattr(availability, "require_worker", lambda queue: None)
    (token,) = re.findall(r'name="form_token" value="([^"]+)"', text_of(operator.get(ADD)))
    data = {"config": "name: x\nruntime: echo\n", "form_token": token}
    assert "Nothing that was checked keeps this workspace from starting." in text_of(
        operator.post(ADD, {**data, "_check": "1"})
    )
    assert operator.post(ADD, data).status_code == 302
    assert Workspace.objects.count() == 1


@pytest.mark.parametrize("data", [{}, {"template": "echo", "config": "a: 1"}, {"template": "nope"}, {"config": "x\0y"}])
def test_check_only_of_a_request_that_does_not_say_what_to_launch_names_the_field(operator, data):
    text = text_of(operator.post(ADD, {**data, "_check": "1"}))
    assert "slipway-error" in text
    assert not Workspace.objects.exists()


def test_check_only_and_the_api_tell_who_may_add_the_same_about_secrets_whose_values_they_can_use(client):
    create_set("shared")
    put_secrets({"B_KEY": "changeme"}, workspace_id=None)
    put_secrets({"C_KEY": VALUE, "SPARE": "changeme"}, workspace_id=None, secret_set="shared")
    sign_in(client, "add_workspace")
    asked = {"config": CONFIG, "secret_sets": ["shared"]}
    report = client.post("/workspaces/preflight", asked, content_type="application/json").json()
    found = {(each["code"], each["path"]) for each in [*report["problems"], *report["warnings"]]}
    assert found == {
        ("unknown_key", "rutime"),
        ("missing_env", "env.required[0]"),
        ("no_worker", ""),
        ("suspicious_value", "secrets.B_KEY"),
        ("suspicious_value", "secrets.SPARE"),
    }
    text = html.unescape(text_of(client.post(ADD, {"config": CONFIG, "secret_sets": "shared", "_check": "1"})))
    for each in [*report["problems"], *report["warnings"]]:
        assert each["message"].removesuffix(".") in text
    assert len(report["problems"] + report["warnings"]) == text.count('<li class="slipway-finding">')
    # A workspace that they add gets the values.
    made = client.post("/workspaces", {"name": "new", **asked}, content_type="application/json")
    assert made.status_code == 201, made.content
    expected = {"B_KEY": "changeme", "C_KEY": VALUE, "SPARE": "changeme"}
    assert read_environment(Workspace.objects.get().pk) == expected


def test_check_only_and_its_call_need_the_permission_to_add(client):
    sign_in(client, "view_workspace", "view_secret")
    assert client.post(ADD, {"config": CONFIG, "_check": "1"}).status_code == 403
    answer = client.post("/workspaces/preflight", {"config": CONFIG}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
