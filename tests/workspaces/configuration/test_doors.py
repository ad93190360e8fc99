"""One preflight behind every door: the same configuration gets the same findings wherever it is asked about."""

import io
import json
from contextlib import suppress

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command

from tests.callers import holder
from tests.workspaces.factories import queued
from workspaces.access.secrets import put_secrets
from workspaces.configuration import availability
from workspaces.configuration.preflight import PreflightFailed, preflight
from workspaces.models import ApiScope, Launch, Workspace
from workspaces.tasks import launch

pytestmark = pytest.mark.django_db

ADD = "/admin/workspaces/workspace/add/"
VALUE = "hunter2-hunter2"
# What is probably not meant, in the config and in a variable.
SUSPECT = "rutime: x\nruntime: hermse\nprompt_files: [a.md]\na2a: {streaming: no}\n"
DOCUMENTS = {
    "nothing at all": "",
    "no YAML": "name: [x\n",
    "a tag and a key given twice": "name: !!str x\nname: y\n",
    "too deep": "a: " + "[" * 60 + "]" * 60,
    "too large": "a: " + "x" * 300_000,
    "an alias of itself": "a: &a [*a]\n",
    "wrong types and ranges": "name: 5\na2a: {port: 70000}\nruntime_config:\n  required_env: A_KEY\n",
    "a misplaced key": "runtime_config: {requried_env: [A_KEY]}\n",
    "a bad name beside what is missing": "env: {required: [A_KEY, 1KEY, {any_of: [B_KEY, C_KEY]}]}\n",
    "a model's list": "model: hub/x\nmodels: [{id: hub/*, required_env: [A_KEY, HUB_KEY]}]\n",
    "missing variables": "runtime_config: {required_env: [A_KEY, {any_of: [B_KEY, C_KEY]}]}\n",
    "what is probably not meant": SUSPECT,
    "all of it": SUSPECT + "name: 5\nenv: {required: [A_KEY, PORT]}\n",
    "more than is shown": "env: {required: [" + ", ".join(f"KEY_{number}" for number in range(200)) + "]}\nname: 5\n",
}


@pytest.fixture(autouse=True)
def worker(monkeypatch):
    monkeypatch.setattr(availability, "require_worker", lambda queue: None)
    availability.cache.clear()
    yield
    availability.cache.clear()


def by_request(text, tmp_path, client):
    return holder(ApiScope.OPERATE).post("/workspaces/preflight", {"config": text}).json()


def by_template(text, tmp_path, client):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text(text)
    return holder(ApiScope.OPERATE).post("/workspaces/preflight", {"template": "mine"}).json()


def by_workspace(text, tmp_path, client):
    return holder(ApiScope.READ).get(f"/workspaces/{stored(text).pk}/preflight").json()


def by_command(text, tmp_path, client):
    (tmp_path / "config.yaml").write_text(text)
    out = io.StringIO()
    with suppress(SystemExit):
        call_command("preflight", str(tmp_path / "config.yaml"), "--here", "--format", "json", stdout=out)
    return json.loads(out.getvalue())


def by_form(text, tmp_path, client):
    client.force_login(User.objects.create_superuser("operator"))
    return of(client.post(ADD, {"config": text, "_check": "1"}).context["report"])


def by_page(text, tmp_path, client):
    client.force_login(User.objects.create_superuser("operator"))
    return of(client.get(f"/admin/workspaces/workspace/{stored(text).pk}/change/").context["report"])


def by_launch(text, tmp_path, client):
    workspace = stored(text)
    try:
        prepared = preflight(workspace)
    except PreflightFailed as failed:
        return of(failed.report)
    return {"problems": [], "warnings": [shown(each) for each in prepared.warnings]}


def by_create(text, tmp_path, client):
    answer = holder(ApiScope.OPERATE).post("/workspaces", {"name": "x", "config": text})
    if answer.status_code == 422:
        return {"problems": answer.json().get("problems", []), "warnings": None}
    workspace = Workspace.objects.get(pk=answer.json()["id"])
    assert answer.status_code == 201, answer.content
    # A variable may be missing: its launch says so.
    try:
        problems = preflight(workspace) and []
    except PreflightFailed as failed:
        problems = of(failed.report)["problems"]
    return {"problems": problems, "warnings": answer.json().get("warnings", [])}


DOORS = [by_request, by_template, by_workspace, by_command, by_form, by_page, by_launch, by_create]


def stored(text):
    workspace = queued()
    Workspace.objects.filter(pk=workspace.pk).update(config=text or " ", template="")
    workspace.refresh_from_db()
    return workspace


def of(report):
    return {
        "problems": [shown(each) for each in report.problems],
        "warnings": [shown(each) for each in report.warnings],
    }


def shown(found):
    keys = ("code", "path", "line", "column", "message", "hint")
    return {key: found[key] if isinstance(found, dict) else getattr(found, key) for key in keys}


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_a_configuration_has_the_same_problems_and_warnings_at_every_door(door, text, tmp_path, client, settings):
    settings.CATALOG_DIRS = [tmp_path]
    put_secrets({"GLOBAL_KEY": VALUE}, workspace_id=None)
    expected = by_request(text, tmp_path, client)
    if not text and door in (by_form, by_create):
        # They ask for a template or a config.
        return
    found = door(text, tmp_path, client)
    problems = [shown(each) for each in found["problems"]]
    assert problems == expected["problems"]
    if found["warnings"] is not None:
        # A runtime of the catalog is known by being there.
        codes = {"unknown_runtime"} if door is by_template else set()
        warnings = [each for each in expected["warnings"] if each["code"] not in codes]
        assert [shown(each) for each in found["warnings"]] == warnings


def test_the_documents_have_findings_of_every_kind_that_a_file_can_have(tmp_path, client):
    reports = [by_request(text, tmp_path, client) for text in DOCUMENTS.values()]
    codes = {each["code"] for report in reports for each in [*report["problems"], *report["warnings"]]}
    assert {"bad_yaml", "tag", "duplicate_key", "too_deep", "too_large", "recursive_alias", "more"} <= codes
    assert {"wrong_type", "out_of_range", "bad_name", "misplaced_key", "missing_env", "not_a_mapping"} <= codes
    assert {"unknown_key", "unknown_runtime", "missing_file", "not_a_boolean"} <= codes


# --- What a launch keeps --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("missing", ["", "env: {required: [B_KEY]}\n"], ids=["online", "failed"])
def test_the_warnings_of_a_launchs_preflight_are_kept_and_shown(fake, client, missing):
    text = f"name: x\nrutime: echo\n{missing}"
    workspace = queued(config=text, secrets={"A_KEY": "changeme", "C_KEY": VALUE})
    launch(workspace_id=str(workspace.pk), launch_id=str(workspace.launch_id))
    expected = [("suspicious_value", "secrets.A_KEY", None), ("unknown_key", "rutime", 2)]
    for path in (f"/launches/{workspace.launch_id}", f"/workspaces/{workspace.pk}/launches"):
        row = holder(ApiScope.READ).get(path).json()
        warnings = (row if isinstance(row, dict) else row[0])["warnings"]
        assert [(each["code"], each["path"], each["line"]) for each in warnings] == expected
        assert set(warnings[0]) == {"code", "path", "line", "column", "message", "hint"}
    client.force_login(User.objects.create_superuser("operator"))
    for page in (
        f"/admin/workspaces/workspace/{workspace.pk}/change/",
        f"/admin/workspaces/launch/{workspace.launch_id}/change/",
    ):
        assert "The value of A_KEY looks like a placeholder." in client.get(page).content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_secret_that_a_configuration_repeats_is_masked_in_the_warnings_of_its_launch(fake):
    workspace = queued(config=f"{VALUE}: x\n", secrets={"A_KEY": VALUE})
    launch(workspace_id=str(workspace.pk), launch_id=str(workspace.launch_id))
    [warning] = Launch.objects.get(pk=workspace.launch_id).warnings
    assert warning["code"] == "unknown_key"
    assert VALUE not in json.dumps(warning)
