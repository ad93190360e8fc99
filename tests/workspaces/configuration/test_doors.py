"""One preflight behind every door: the same configuration gets the same findings wherever it is asked about."""

import io
import json
from contextlib import suppress
from hashlib import sha512

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command

from events.masking.masker import MASK
from events.models import Event
from tests.callers import holder
from tests.workspaces.factories import queued
from workspaces.access.secret_sets import create_set
from workspaces.access.secrets import put_secrets
from workspaces.configuration import availability
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.configuration.preflight import PreflightFailed, preflight
from workspaces.models import ApiScope, Launch, Workspace
from workspaces.tasks import launch

pytestmark = pytest.mark.django_db

ADD = "/admin/workspaces/workspace/add/"
VALUE = "hunter2-hunter2"
LONG_VALUE = sha512(b"a value").hexdigest()
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
    "a tier out of range": "name: x\ntier: 99\nruntime: q\n",
    "a negative tier": "tier: -5\n",
    "names that can't be stored": f'name: "a\\u202eb"\nruntime: {"q" * 64}\n',
    "a name of two lines": 'runtime: "a\\nb"\n',
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


def by_request(text, tmp_path, client, **asked):
    return holder(ApiScope.OPERATE).post("/workspaces/preflight", {"config": text, **asked}).json()


def by_template(text, tmp_path, client):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text(text)
    return holder(ApiScope.OPERATE).post("/workspaces/preflight", {"template": "mine"}).json()


def by_workspace(text, tmp_path, client, **asked):
    return holder(ApiScope.READ).get(f"/workspaces/{stored(text, **asked).pk}/preflight").json()


def by_command(text, tmp_path, client, **asked):
    (tmp_path / "config.yaml").write_text(text)
    out = io.StringIO()
    with suppress(SystemExit):
        call_command("preflight", str(tmp_path / "config.yaml"), "--here", "--format", "json", stdout=out, **asked)
    return json.loads(out.getvalue())


def by_form(text, tmp_path, client, **asked):
    """Return the findings. Only where to add what is missing is said differently, since the form has a field for it."""
    client.force_login(User.objects.create_superuser("operator"))
    found = of(client.post(ADD, {"config": text, "_check": "1", **asked}).context["report"])
    elsewhere = "Add it to this workspace's secrets or to the global secrets, then restart."
    for problem in found["problems"]:
        problem["hint"] = problem["hint"].replace("Add it under Secrets above, or to the global secrets.", elsewhere)
    return found


def by_page(text, tmp_path, client, **asked):
    client.force_login(User.objects.create_superuser("operator"))
    return of(client.get(f"/admin/workspaces/workspace/{stored(text, **asked).pk}/change/").context["report"])


def by_launch(text, tmp_path, client, **asked):
    workspace = stored(text, **asked)
    try:
        prepared = preflight(workspace)
    except PreflightFailed as failed:
        return of(failed.report)
    return {"problems": [], "warnings": [shown(each) for each in prepared.warnings]}


def by_create(text, tmp_path, client, **asked):
    answer = holder(ApiScope.OPERATE).post("/workspaces", {"name": "x", "config": text, **asked})
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


def stored(text, **fields):
    workspace = queued()
    Workspace.objects.filter(pk=workspace.pk).update(config=text or " ", template="", **fields)
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


ASKED = {
    "a set that does not exist": ({"secret_sets": ["none-such"]}, "bad_secret", [by_create]),
    "a runtime": ({"runtime": "hermse"}, "unknown_runtime", [by_create, by_command]),
    "a long model": ({"model": "m" * 201}, "bad_value", [by_create, by_command]),
    "a model of two lines": ({"model": "a\nb"}, "bad_value", [by_create, by_command]),
    "a long runtime": ({"runtime": "r" * 64}, "bad_value", [by_create, by_command]),
    "a runtime of another direction": ({"runtime": "a\u202eb"}, "bad_value", [by_create, by_command]),
    "a model": ({"model": "hub/x"}, "missing_env", [by_create, by_command, by_form, by_workspace, by_page, by_launch]),
}


@pytest.mark.parametrize(
    ("asked", "code", "door"),
    [(asked, code, door) for asked, code, doors in ASKED.values() for door in doors],
    ids=[f"{name}-{door.__name__}" for name, (_, _, doors) in ASKED.items() for door in doors],
)
def test_what_is_asked_beside_the_configuration_has_the_same_findings_at_every_door(
    asked, code, door, tmp_path, client
):
    text = "name: x\nmodels: [{id: hub/*, required_env: [HUB_KEY]}]\n"
    expected = by_request(text, tmp_path, client, **asked)
    assert [each["code"] for each in expected["problems"] or expected["warnings"]] == [code]
    found = door(text, tmp_path, client, **asked)
    assert [shown(each) for each in found["problems"]] == expected["problems"]
    if found["warnings"] is not None:
        assert [shown(each) for each in found["warnings"]] == expected["warnings"]


def test_a_create_that_is_refused_for_its_tier_names_it_once_with_its_line():
    answer = holder(ApiScope.OPERATE).post("/workspaces", {"name": "x", "config": "name: x\ntier: 99\n"})
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["config"])
    assert answer.json()["fields"]["config"] == "tier: must be a whole number from 1 to 10, not 99 (line 2, column 1)."


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


# What a configuration may repeat a secret in, and the code of the finding that shows it.
REPEATED = {
    "a key": ("{0}: x\n", "unknown_key"),
    "a key beneath another": ("runtime_config: {{x{0}: x}}\n", "unknown_key"),
    "a key like the path of a secret": ("secrets.{0}: x\n", "unknown_key"),
    "a key of an invisible character": ('"\\u200b{0}": x\n', "unknown_key"),
    "a file": ("prompt_files: [{0}]\n", "missing_file"),
    "a wrong key": ("{0}: {{required_env: [A_KEY]}}\n", "misplaced_key"),
    "a key given twice": ("{0}: x\n{0}: y\n", "duplicate_key"),
    "a tag": ("name: !{0} x\n", "tag"),
    "an alias": ("name: *{0}\n", "bad_yaml"),
    "a name of a variable": ('env: {{required: ["{0}-"]}}\n', "bad_name"),
    "a model": ("model: {0}\nmodels: [{{id: {0}, required_env: [B_KEY]}}]\n", "missing_env"),
    "the runtime": ("runtime: {0}\n", "unknown_runtime"),
}


def shows(value, text):
    """Return whether a text shows eight characters of a value."""
    return any(value[start : start + 8] in text for start in range(len(value) - 7))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("value", [VALUE, LONG_VALUE], ids=["short", "longer than what is shown"])
@pytest.mark.parametrize(("text", "code"), REPEATED.values(), ids=REPEATED)
def test_a_secret_that_a_configuration_repeats_is_masked_in_all_that_is_said_of_it(fake, client, text, code, value):
    workspace = queued(secrets={"A_KEY": value})
    # As if a template had been changed since: a bad one is refused.
    Workspace.objects.filter(pk=workspace.pk).update(config=text.format(value), template="")
    client.force_login(User.objects.create_superuser("operator"))
    page = client.get(f"/admin/workspaces/workspace/{workspace.pk}/change/").context["report"]
    answer = holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}/preflight").json()
    for report in (of(page), answer):
        found = [*report["problems"], *report["warnings"]]
        assert code in [each["code"] for each in found]
        assert MASK in json.dumps(found, ensure_ascii=False)
        assert not shows(value, json.dumps(found))
    launch(workspace_id=str(workspace.pk), launch_id=str(workspace.launch_id))
    row = Launch.objects.get(pk=workspace.launch_id)
    if code != "unknown_runtime":
        assert MASK in f"{row.warnings} {row.failure_message}"
    assert not shows(value, f"{row.warnings} {row.failure_message}")
    assert not [event for event in Event.objects.all() if shows(value, json.dumps(event.payload.get("error", "")))]


@pytest.mark.parametrize("owner", [None, "shared"], ids=["a global secret", "a secret of a set"])
@pytest.mark.parametrize("value", [VALUE, LONG_VALUE], ids=["short", "longer than what is shown"])
@pytest.mark.parametrize(("text", "code"), REPEATED.values(), ids=REPEATED)
def test_a_secret_that_a_template_repeats_is_masked_before_a_workspace_is_created(
    tmp_path, client, settings, text, code, value, owner
):
    settings.CATALOG_DIRS = [tmp_path]
    create_set("shared")
    put_secrets({"A_KEY": value}, workspace_id=None, secret_set=owner)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text(text.format(value))
    body = {"template": "mine", "secret_sets": ["shared"]}
    operator = holder(ApiScope.OPERATE)
    asked = operator.post("/workspaces/preflight", body).json()
    assert MASK in json.dumps(asked, ensure_ascii=False) or code == "unknown_runtime"
    client.force_login(User.objects.create_superuser("operator"))
    checked = of(client.post(ADD, {**body, "_check": "1"}).context["report"])
    created = operator.post("/workspaces", {"name": "x", **body}).json()
    assert not shows(value, json.dumps([asked, checked, created]))


def test_a_name_of_a_variable_that_is_a_secret_is_masked_and_the_name_of_a_stored_one_is_not(client):
    names = "hunter2_hunter2x, {any_of: [STORED, hunter2_hunter2y, TOKEN_of_ours]}"
    secrets = {"A_KEY": "hunter2_hunter2x", "STORED": "STORED", "B_KEY": "hunter2_hunter2y", "C_KEY": "TOKEN_of_theirs"}
    workspace = queued(config=f"env: {{required: [{names}]}}\n", secrets=secrets)
    answer = holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}/preflight").json()
    required = [(each["name"], each["any_of"]) for each in answer["variables"] if each["required"]]
    any_of = ["STORED", MASK, "TOKEN_of_ours"]
    assert required == [(MASK, []), ("STORED", any_of), (MASK, any_of), ("TOKEN_of_ours", any_of)]
    client.force_login(User.objects.create_superuser("operator"))
    for page in ("change", "preflight"):
        assert (
            "hunter2_hunter2" not in client.get(f"/admin/workspaces/workspace/{workspace.pk}/{page}/").content.decode()
        )


def test_a_name_of_a_variable_that_has_a_secret_in_it_is_masked_in_part():
    names = "PRE_hunter2_hunter2x, hunter2_hunter2x_, PREFIX_hunter2_hunter2"
    workspace = queued(config=f"env: {{required: [{names}]}}\n", secrets={"A_KEY": "hunter2_hunter2x"})
    answer = holder(ApiScope.READ).get(f"/workspaces/{workspace.pk}/preflight").json()
    shown = {each["name"] for each in answer["variables"] if each["required"]}
    assert f"PRE_{MASK}" in shown
    assert "hunter2_hunter2x" not in json.dumps(answer["variables"])


@pytest.mark.django_db(transaction=True)
def test_warnings_of_variables_keep_their_names_whatever_the_values_are(fake):
    values = {"A_KEY": "A_KEY", "B_KEY": "placeholder", "C_KEY": " looks like", "D_KEY": "'secrets.D_KEY'"}
    workspace = queued(config=f"name: x\nsecrets.{VALUE}: x\n", secrets={**values, "E_KEY": VALUE})
    launch(workspace_id=str(workspace.pk), launch_id=str(workspace.launch_id))
    warnings = Launch.objects.get(pk=workspace.launch_id).warnings
    of_variables = {each["path"]: each["message"] for each in warnings if each["code"] == "suspicious_value"}
    assert of_variables == {
        "secrets.A_KEY": "The value of A_KEY looks like a placeholder.",
        "secrets.B_KEY": "The value of B_KEY looks like a placeholder.",
        "secrets.C_KEY": "The value of C_KEY begins or ends with white space.",
        "secrets.D_KEY": "The value of D_KEY is in quotes, which belong to the value here.",
    }
    assert not shows(VALUE, json.dumps(warnings))


@pytest.mark.parametrize("sees_secrets", [False, True])
def test_warnings_of_variables_are_shown_to_users_who_may_view_secrets(client, sees_secrets):
    workspace = queued()
    warnings = [
        Diagnostic(code="suspicious_value", message="The value of A_KEY is odd.", path="secrets.A_KEY"),
        Diagnostic(code="unknown_key", message="Nobody reads rutime.", path="rutime"),
    ]
    Launch.objects.filter(pk=workspace.launch_id).update(warnings=[each.as_json() for each in warnings])
    user = User.objects.create_user("some", is_staff=True)
    names = ["view_workspace", "view_launch", *(["view_secret"] if sees_secrets else [])]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client.force_login(user)
    for path in (
        "/launches",
        f"/launches/{workspace.launch_id}",
        f"/workspaces/{workspace.pk}/launches",
        f"/admin/workspaces/workspace/{workspace.pk}/change/",
        f"/admin/workspaces/launch/{workspace.launch_id}/change/",
    ):
        answer = client.get(path)
        assert answer.status_code == 200, path
        text = answer.content.decode()
        assert "Nobody reads rutime." in text
        assert ("A_KEY" in text) == sees_secrets, path
    assert "A_KEY" in holder(ApiScope.READ).get("/launches").content.decode()
