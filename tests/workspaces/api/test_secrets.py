"""Secrets by the API: what is set reaches the environment, and no answer ever has a value."""

from urllib.parse import quote

import pytest

from postgres import encryption
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import online
from workspaces.access.secret_sets import create_set
from workspaces.access.secrets import put_secrets, read_environment
from workspaces.models import ApiScope, Secret, SecretSet
from workspaces.operations import remove

pytestmark = pytest.mark.django_db

VALUE = "hunter2-hunter2"


@pytest.fixture
def operator():
    return holder(ApiScope.ADMIN)


@pytest.fixture
def workspace():
    return online()


def put(caller, path, body):
    answer = caller.client.put(path, body, content_type="application/json", headers=caller.headers)
    assert VALUE not in answer.content.decode()
    return answer


def own(workspace):
    return f"/workspaces/{workspace.pk}/secrets"


@pytest.mark.parametrize("body", [{"key": "KEY", "value": VALUE}, {"secrets": {"KEY": VALUE}}])
def test_a_secret_is_set_replaced_listed_and_deleted_and_never_shown(operator, workspace, body):
    for version in (1, 2):
        answer = put(operator, own(workspace), body)
        assert (answer.status_code, answer.json()) == (200, {"status": "saved", "names": ["KEY"]})
        listed = operator.get(own(workspace))
        assert VALUE not in listed.content.decode()
        (row,) = listed.json()
        assert set(row) == {
            *("name", "key", "scope", "secret_set", "version", "set_by"),
            *("set_at", "created_at", "updated_at"),
        }
        assert (row["name"], row["key"], row["scope"]) == ("KEY", "KEY", "workspace")
        assert (row["version"], row["set_by"]) == (version, "the API key script")
    assert read_environment(workspace.pk) == {"KEY": VALUE}
    assert operator.delete(f"{own(workspace)}/KEY").json() == {"status": "deleted"}
    assert read_environment(workspace.pk) == {}
    assert operator.delete(f"{own(workspace)}/KEY").status_code == 404


def test_several_secrets_are_set_at_once_and_the_others_stay(operator, workspace):
    put_secrets({"OLD": "1", "KEPT": "2"}, workspace_id=workspace.pk)
    put(operator, own(workspace), {"secrets": {"OLD": "3", "NEW": "a\nb"}})
    assert read_environment(workspace.pk) == {"OLD": "3", "KEPT": "2", "NEW": "a\nb"}


@pytest.mark.parametrize("place", ["workspace", "global", "set"])
def test_a_place_has_at_most_a_thousand_secrets_however_they_come_and_each_can_be_replaced(operator, workspace, place):
    create_set("llm")
    paths = {"workspace": own(workspace), "global": "/settings/secrets", "set": "/settings/secret-sets/llm"}
    owner = {"workspace": {"workspace": workspace}, "global": {}, "set": {"secret_set_id": "llm"}}[place]
    old = encryption.encrypt("x")
    Secret.objects.bulk_create(Secret(name=f"OLD_{number}", ciphertext=old, **owner) for number in range(999))
    answer = put(operator, paths[place], {"secrets": {"NEW_1": VALUE, "NEW_2": VALUE, "OLD_1": VALUE}})
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["secrets"])
    assert "there would be 1001 secrets" in answer.json()["error"]
    assert Secret.objects.filter(version=1).count() == 999
    assert put(operator, paths[place], {"secrets": {"NEW_1": VALUE, "OLD_1": VALUE}}).status_code == 200
    assert Secret.objects.count() == 1000


def test_global_secrets_reach_every_workspace_and_are_listed_with_it_unless_it_has_its_own(operator, workspace):
    assert put(operator, "/settings/secrets", {"secrets": {"A": VALUE, "B": VALUE}}).status_code == 200
    put(operator, own(workspace), {"key": "A", "value": "mine"})
    assert read_environment(workspace.pk) == {"A": "mine", "B": VALUE}
    listed = [(row["name"], row["scope"]) for row in operator.get(own(workspace)).json()]
    assert listed == [("A", "workspace"), ("B", "global")]
    assert [row["name"] for row in operator.get("/settings/secrets").json()] == ["A", "B"]
    assert operator.delete(f"{own(workspace)}/B").status_code == 404
    assert operator.delete("/settings/secrets/B").status_code == 200
    assert read_environment(workspace.pk) == {"A": "mine"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, ["body"]),
        ({"key": "A"}, ["body"]),
        ({"value": "x"}, ["body"]),
        ({"key": "A", "value": "x", "secrets": {}}, ["body"]),
        ({"key": "A", "value": 5}, ["value"]),
        ({"key": "A", "value": " "}, ["value"]),
        ({"key": "not a name", "value": "x"}, ["key"]),
        ({"key": "WORKSPACE_TOKEN", "value": "x"}, ["key"]),
        ({"secrets": {"A": None}}, ["secrets.A"]),
        ({"secrets": {"A": "x", "PORT": "1"}}, ["secrets"]),
        ({"secrets": {"A": "x" * 65_537}}, ["secrets"]),
        ({"keys": "A", "value": "x"}, ["keys"]),
    ],
)
@pytest.mark.parametrize("is_global", [True, False])
def test_what_can_not_be_a_secret_is_refused_by_field_and_nothing_is_stored(
    operator, workspace, body, fields, is_global
):
    answer = put(operator, "/settings/secrets" if is_global else own(workspace), body)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, fields)
    assert not Secret.objects.exists()


def test_a_removed_workspace_gets_no_secrets(operator, workspace):
    remove(workspace.pk)
    assert put(operator, own(workspace), {"key": "A", "value": "x"}).status_code == 410


@pytest.mark.parametrize(
    ("scope", "may"), [(ApiScope.READ, ["list"]), (ApiScope.OPERATE, ["list", "own"]), (ApiScope.WATCH, [])]
)
def test_what_a_scope_may_do_with_secrets(workspace, scope, may):
    put_secrets({"KEY": VALUE}, workspace_id=None)
    caller = holder(scope)
    calls = {
        "list": caller.get(own(workspace)),
        "own": put(caller, own(workspace), {"key": "A", "value": "x"}),
        "global": put(caller, "/settings/secrets", {"key": "A", "value": "x"}),
        "delete": caller.delete("/settings/secrets/KEY"),
    }
    assert [name for name, answer in calls.items() if answer.status_code == 200] == may
    assert {answer.status_code for name, answer in calls.items() if name not in may} == {403}


def test_an_agent_has_nothing_to_do_with_secrets(workspace):
    agent = AgentCaller(workspace)
    assert (
        agent.get(own(workspace)).status_code
        == put(agent, own(workspace), {"key": "A", "value": "x"}).status_code
        == 403
    )


# Names that an environment can have, and those that a path would read differently.
GOOD_NAMES = ("A", "_", "a1", "x" * 255, "__proto__", "constructor", "new", "Null")
ODD_NAMES = (
    "a/b",
    "../x",
    "..",
    ".",
    "a.b",
    "a%b",
    "%2F",
    "a b",
    "a?b",
    "a#b",
    "a;b",
    "ü",
    "A\n",
    "",
    " ",
    "1A",
    "a=b",
    "x" * 256,
)


@pytest.mark.parametrize("name", GOOD_NAMES + ODD_NAMES)
@pytest.mark.parametrize("place", ["workspace", "global", "set"])
def test_whatever_can_be_set_can_be_deleted(operator, workspace, place, name):
    paths = {"workspace": f"/workspaces/{workspace.pk}/secrets", "global": "/settings/secrets"}
    path = paths.get(place, "/settings/secret-sets/team.v1")
    create_set("team.v1")
    status = put(operator, path, {"secrets": {name: "value-of-a-test"}}).status_code
    assert status == (200 if name in GOOD_NAMES else 422)
    answer = operator.delete(f"{path}/{quote(name, safe='')}")
    # A name with a slash has no address; nothing can be stored under it.
    assert (answer.status_code == 200) == (name in GOOD_NAMES), answer.content
    assert not Secret.objects.exists()


@pytest.mark.parametrize(
    "name", ["a", "0", "a..b", "a.", "a-_.z", "secrets", "a" * 63, "A", ".a", "..", "a/b", "a%b", "-"]
)
def test_whatever_set_can_be_made_can_be_deleted(operator, name):
    path = f"/settings/secret-sets/{quote(name, safe='')}"
    is_made = put(operator, path, {"key": "ONE", "value": "value-of-a-test"}).status_code == 200
    assert is_made == SecretSet.objects.filter(name=name).exists()
    assert (operator.delete(path).status_code == 200) == is_made
    assert not SecretSet.objects.exists()
