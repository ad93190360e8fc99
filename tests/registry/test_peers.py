"""Which peers an agent sees, and what it is told about access."""

import uuid

import pytest

from tests.callers import AgentCaller
from tests.workspaces.factories import online
from workspaces.models import Heartbeat, Workspace
from workspaces.operations import remove

pytestmark = pytest.mark.django_db


@pytest.fixture
def family():
    """Return workspaces by name: a tree of three generations, and another root."""
    top = online(name="top")
    left, right = online(name="left", parent_id=top.pk), online(name="right", parent_id=top.pk)
    rows = (top, left, right, online(name="leaf", parent_id=left.pk), online(name="other"))
    return {row.name: row for row in rows}


def removed():
    return remove(online(name="gone").pk).workspace


def peers(workspace, **query):
    answer = AgentCaller(workspace).get(f"/registry/{workspace.pk}/peers", **query)
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("top", ["left", "other", "right"]),
        ("left", ["leaf", "right", "top"]),
        ("right", ["left", "top"]),
        ("leaf", ["left"]),
        ("other", ["top"]),
    ],
)
def test_parent_siblings_and_children_are_peers_by_name(family, name, seen):
    assert [peer["name"] for peer in peers(family[name])] == seen


def test_a_peer_has_the_fields_of_the_contract(family):
    Workspace.objects.filter(pk=family["right"].pk).update(role="reviewer", tier=2, agent_card={"name": "R"})
    Heartbeat.objects.filter(pk=family["right"].pk).update(active_tasks=3)
    right = {peer["name"]: peer for peer in peers(family["left"])}["right"]
    assert right == {
        "id": str(family["right"].pk),
        "name": "right",
        "role": "reviewer",
        "tier": 2,
        "status": "online",
        "agent_card": {"name": "R"},
        "url": family["right"].url,
        "parent_id": str(family["top"].pk),
        "active_tasks": 3,
    }


def test_a_peer_that_has_sent_no_card_has_none(family):
    Workspace.objects.update(agent_card={})
    assert {peer["agent_card"] for peer in peers(family["left"])} == {None}


@pytest.mark.parametrize(
    ("text", "seen"), [("RIGHT", ["right"]), ("view", ["right"]), ("nobody", []), ("\0 ", ["right", "top"])]
)
def test_peers_are_found_by_a_text_in_name_or_role(family, text, seen):
    remove(family["leaf"].pk)
    Workspace.objects.filter(name="right").update(role="reviewer")
    assert [peer["name"] for peer in peers(family["left"], q=text)] == seen


def test_a_removed_workspace_is_no_peer(family):
    gone = removed()
    assert gone.name not in [peer["name"] for peer in peers(family["top"])]


def test_the_peers_of_another_workspace_are_refused(family):
    answer = AgentCaller(family["left"]).get(f"/registry/{family['right'].pk}/peers")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def allowed(asker, caller, target):
    ids = {"caller_id": str(getattr(caller, "pk", caller)), "target_id": str(getattr(target, "pk", target))}
    answer = AgentCaller(asker).post("/registry/check-access", ids)
    assert answer.status_code == 200
    return answer.json()


@pytest.mark.parametrize(
    ("caller", "target", "may"),
    [
        ("left", "left", True),
        ("left", "right", True),
        ("top", "other", True),
        ("leaf", "top", True),
        ("top", "leaf", True),
        ("leaf", "right", False),
        ("left", "other", False),
    ],
)
def test_access_is_told_to_the_caller_and_to_the_target(family, caller, target, may):
    for asker in (caller, target):
        assert allowed(family[asker], family[caller], family[target]) == {"allowed": may}


def test_nobody_has_access_to_or_from_a_removed_or_unknown_workspace(family):
    for stranger in (removed(), uuid.uuid4()):
        assert allowed(family["top"], family["top"], stranger) == {"allowed": False}
        assert allowed(family["top"], stranger, family["top"]) == {"allowed": False}


def test_an_agent_is_not_told_about_two_others(family):
    ids = {"caller_id": str(family["left"].pk), "target_id": str(family["right"].pk)}
    answer = AgentCaller(family["other"]).post("/registry/check-access", ids)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("body", [{}, {"caller_id": "x", "target_id": None}, [], {"caller_id": 5}])
def test_a_question_about_access_without_ids_is_refused_by_field(family, body):
    answer = AgentCaller(family["top"]).post("/registry/check-access", body)
    assert answer.status_code == 422
    assert answer.json()["fields"]
