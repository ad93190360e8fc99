"""Sets of secrets: shared by workspaces, between the global secrets and a workspace's own."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from tests.callers import holder
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import config_for, online, queue_up
from workspaces.access.masking import masker_of
from workspaces.access.secret_sets import delete_set
from workspaces.access.secrets import put_secrets, read_environment
from workspaces.models import ApiScope, Secret, SecretSet, Workspace
from workspaces.operations import remove

pytestmark = pytest.mark.django_db

VALUE = "hunter2-hunter2"
SETS = "/settings/secret-sets"


@pytest.fixture
def admin():
    return holder(ApiScope.ADMIN)


def send(caller, method, path, body, **headers):
    answer = getattr(caller.client, method)(
        path, body, content_type="application/json", headers={**caller.headers, **headers}
    )
    assert VALUE not in answer.content.decode()
    return answer


def make_set(admin, name, **values):
    answer = send(admin, "put", f"{SETS}/{name}", {"secrets": values})
    assert (answer.status_code, answer.json()) == (200, {"status": "saved", "names": sorted(values)})


def attach(admin, workspace, *names):
    answer = send(admin, "patch", f"/workspaces/{workspace.pk}", {"secret_sets": list(names)})
    assert answer.status_code == 200, answer.content
    return answer


def test_a_set_is_made_changed_listed_and_deleted_and_never_shows_a_value(admin):
    make_set(admin, "llm", A=VALUE, B=VALUE)
    make_set(admin, "llm", B=VALUE)
    make_set(admin, "empty")
    listed = admin.get(SETS).json()
    assert [(row["name"], row["secrets"], row["workspaces"]) for row in listed] == [("empty", 0, 0), ("llm", 2, 0)]
    shown = admin.get(f"{SETS}/llm")
    assert VALUE not in shown.content.decode()
    assert [(row["name"], row["version"], row["scope"], row["secret_set"]) for row in shown.json()["secrets"]] == [
        ("A", 1, "set", "llm"),
        ("B", 2, "set", "llm"),
    ]
    assert admin.delete(f"{SETS}/llm/A").json() == {"status": "deleted"}
    assert admin.delete(f"{SETS}/llm/A").status_code == 404
    assert admin.delete(f"{SETS}/llm").json() == {"status": "deleted"}
    assert (admin.get(f"{SETS}/llm").status_code, admin.delete(f"{SETS}/llm").status_code) == (404, 404)
    assert not Secret.objects.exists()


def test_of_equal_names_the_own_secret_wins_then_the_last_set_then_the_first_then_the_global_one(admin):
    put_secrets(dict.fromkeys("ABCD", "global"), workspace_id=None)
    make_set(admin, "first", B="first", C="first", D="first")
    make_set(admin, "second", C="second", D="second")
    workspace, other = online(secrets={"D": "own"}), online()
    attach(admin, workspace, "first", "second")
    assert read_environment(workspace.pk) == {"A": "global", "B": "first", "C": "second", "D": "own"}
    attach(admin, workspace, "second", "first")
    assert read_environment(workspace.pk) == {"A": "global", "B": "first", "C": "first", "D": "own"}
    assert read_environment(other.pk) == dict.fromkeys("ABCD", "global")
    listed = admin.get(f"/workspaces/{workspace.pk}/secrets").json()
    assert [(row["name"], row["scope"], row["secret_set"]) for row in listed] == [
        ("A", "global", None),
        ("B", "set", "first"),
        ("C", "set", "first"),
        ("D", "workspace", None),
    ]
    attach(admin, workspace)
    assert read_environment(workspace.pk) == {**dict.fromkeys("ABC", "global"), "D": "own"}


def test_a_workspace_is_created_with_sets_and_shows_them(admin):
    make_set(admin, "llm", KEY=VALUE)
    body = {"name": "w", "config": config_for("echo"), "secret_sets": ["llm"]}
    workspace_id = send(admin, "post", "/workspaces", body).json()["id"]
    assert admin.get(f"/workspaces/{workspace_id}").json()["secret_sets"] == ["llm"]
    assert read_environment(workspace_id) == {"KEY": VALUE}
    (user,) = admin.get(f"{SETS}/llm").json()["workspaces"]
    assert user == {"id": workspace_id, "name": "w"}


def test_of_many_workspaces_a_set_shows_the_first_and_how_many_there_are_and_the_list_has_all(admin):
    make_set(admin, "llm", KEY=VALUE)
    make_set(admin, "gpu", KEY=VALUE)
    queue_up(103)
    Workspace.objects.update(secret_sets=["llm"])
    online(name="of both", secret_sets=["gpu", "llm"])
    remove(online(name="a", secret_sets=["llm"]).pk)
    shown = admin.get(f"{SETS}/llm").json()
    names = [row["name"] for row in admin.get("/workspaces", secret_set="llm").json()]
    assert (len(names), len(shown["workspaces"]), shown["workspaces_total"]) == (104, 100, 104)
    assert [row["name"] for row in shown["workspaces"]] == names[:100]
    assert [row["name"] for row in admin.get("/workspaces", secret_set="gpu").json()] == ["of both"]
    assert len(admin.get("/workspaces?secret_set=gpu&secret_set=llm").json()) == 104
    assert admin.get("/workspaces", secret_set="none-such").json() == []


def test_another_list_of_sets_is_another_etag(admin):
    make_set(admin, "llm", KEY=VALUE)
    workspace = online()
    before = admin.get(f"/workspaces/{workspace.pk}")["ETag"]
    attach(admin, workspace, "llm")
    late = send(admin, "patch", f"/workspaces/{workspace.pk}", {"secret_sets": []}, **{"If-Match": before})
    assert (late.status_code, Workspace.objects.get().secret_sets) == (412, ["llm"])


@pytest.mark.parametrize(
    "given", [["nobody"], ["llm", "llm"], "llm", [5], None, ["x" * 64], [f"s{place}" for place in range(21)]]
)
@pytest.mark.parametrize("call", ["create", "change"])
def test_sets_that_a_workspace_can_not_have_are_refused_by_field_and_nothing_changes(admin, call, given):
    make_set(admin, "llm", KEY=VALUE)
    workspace = online(secret_sets=["llm"])
    body = {"secret_sets": given}
    if call == "create" and given is not None:
        answer = send(admin, "post", "/workspaces", {"name": "w", "config": config_for("echo")} | body)
    else:
        answer = send(admin, "patch", f"/workspaces/{workspace.pk}", body)
    assert answer.status_code == 422
    assert [field.partition(".")[0] for field in answer.json()["fields"]] == ["secret_sets"]
    assert Workspace.objects.get().secret_sets == ["llm"]


@pytest.mark.parametrize("name", ["A", "-a", "a b", "é", "x" * 64, "a%00b", "a%0A"])
def test_a_bad_name_of_a_set_is_refused(admin, name):
    answer = send(admin, "put", f"{SETS}/{name}", {"secrets": {"KEY": VALUE}})
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["name"])
    assert not SecretSet.objects.exists()


def test_a_set_with_a_bad_secret_is_not_created(admin):
    answer = send(admin, "put", f"{SETS}/llm", {"secrets": {"KEY": VALUE, "PORT": "1"}})
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["secrets"])
    assert not SecretSet.objects.exists()


def test_a_set_that_a_workspace_has_is_kept_until_it_is_taken_away_or_the_workspace_removed(admin):
    make_set(admin, "llm", KEY=VALUE)
    first, second = online(name="first", secret_sets=["llm"]), online(name="second", secret_sets=["llm"])
    refused = admin.delete(f"{SETS}/llm")
    assert (refused.status_code, refused.json()["code"]) == (409, "secret_set_in_use")
    assert [user["name"] for user in refused.json()["workspaces"]] == ["first", "second"]
    assert read_environment(first.pk) == {"KEY": VALUE}
    attach(admin, first)
    assert admin.delete(f"{SETS}/llm").status_code == 409
    remove(second.pk)
    assert admin.delete(f"{SETS}/llm").status_code == 200


def test_values_of_sets_are_masked_also_replaced_ones_and_those_of_sets_that_were_taken_away(admin):
    make_set(admin, "llm", KEY=VALUE)
    workspace, other = online(secret_sets=["llm"]), online()
    assert "hunter2" not in masker_of(workspace.pk).mask(VALUE)
    assert masker_of(other.pk).mask(VALUE) == VALUE
    make_set(admin, "llm", KEY="another-value")
    assert "hunter2" not in masker_of(workspace.pk).mask(VALUE)
    attach(admin, workspace)
    assert "another" not in masker_of(workspace.pk).mask("another-value")


@pytest.mark.parametrize(("scope", "may"), [(ApiScope.READ, {200, 403}), (ApiScope.OPERATE, {200, 403})])
def test_only_an_admin_key_changes_sets(admin, scope, may):
    make_set(admin, "llm", KEY=VALUE)
    caller = holder(scope)
    assert caller.get(SETS).status_code == caller.get(f"{SETS}/llm").status_code == 200
    changes = [
        send(caller, "put", f"{SETS}/llm", {"key": "A", "value": "x"}),
        caller.delete(f"{SETS}/llm/KEY"),
        caller.delete(f"{SETS}/llm"),
    ]
    assert {answer.status_code for answer in changes} == {403}
    assert Secret.objects.count() == 1


def waits_for_a_lock():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
            "WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
        )
        return cursor.fetchone()[0]


@pytest.mark.django_db(transaction=True)
def test_a_set_that_is_deleted_while_secrets_are_put_into_it_is_made_anew(admin):
    make_set(admin, "llm", A=VALUE)

    def put_and_leave():
        try:
            make_set(admin, "llm", B=VALUE)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as elsewhere:
        with transaction.atomic():
            delete_set("llm")
            putting = elsewhere.submit(put_and_leave)
            wait_until(lambda: putting.done() or waits_for_a_lock())
        putting.result(PATIENCE_SECONDS)
    assert list(Secret.objects.values_list("secret_set_id", "name")) == [("llm", "B")]
