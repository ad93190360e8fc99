"""Agents' tokens by the API: shown once, valid beside the others, dead with their launch or when revoked."""

import pytest

from tests.callers import AgentCaller, Caller, holder
from tests.workspaces.factories import external, online
from workspaces.models import AgentToken, ApiScope, Launch
from workspaces.operations import remove, restart
from workspaces.services.core.agent_tokens import MOST_VALID_TOKENS

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator():
    return holder(ApiScope.OPERATE)


def mint(operator, workspace):
    answer = operator.post(f"/workspaces/{workspace.pk}/tokens")
    assert answer.status_code == 200, answer.content
    return answer.json()


def beats(workspace, token):
    return Caller(token).post("/registry/heartbeat", {"workspace_id": str(workspace.pk)})


@pytest.mark.parametrize("make", [online, external])
def test_a_minted_token_works_beside_the_launchs_other_ones_and_is_stored_only_as_a_digest(operator, make):
    workspace = make()
    first = AgentCaller(workspace)
    minted = mint(operator, workspace)
    assert set(minted) == {"id", "auth_token"}
    assert beats(workspace, minted["auth_token"]).status_code == 200
    assert first.beat().status_code == 200
    assert minted["auth_token"] not in str(list(AgentToken.objects.values()))


def test_a_list_tells_tokens_apart_without_showing_them(operator):
    workspace = online()
    minted = mint(operator, workspace)
    operator.delete(f"/workspaces/{workspace.pk}/tokens/{minted['id']}")
    restart(workspace.pk)
    answer = operator.get(f"/workspaces/{workspace.pk}/tokens")
    (listed,) = answer.json()
    assert (listed["id"], listed["launch_id"], listed["is_current"]) == (minted["id"], str(workspace.launch_id), False)
    assert listed["revoked_at"] > listed["created_at"]
    assert minted["auth_token"] not in answer.content.decode()


def test_a_revoked_token_is_refused_at_once_and_the_others_are_not(operator):
    workspace = online()
    minted, kept = mint(operator, workspace), mint(operator, workspace)
    for _ in range(2):
        answer = operator.delete(f"/workspaces/{workspace.pk}/tokens/{minted['id']}")
        assert (answer.status_code, answer.json()) == (200, {"status": "revoked"})
    refused = beats(workspace, minted["auth_token"])
    assert (refused.status_code, refused.json()["error"]) == (401, "This token was revoked.")
    assert beats(workspace, kept["auth_token"]).status_code == 200


def test_a_minted_token_dies_with_its_launch(operator):
    workspace = online()
    minted = mint(operator, workspace)
    restart(workspace.pk)
    answer = beats(workspace, minted["auth_token"])
    assert (answer.status_code, answer.json()["code"]) == (401, "superseded")


def test_a_stopped_launch_and_a_removed_workspace_get_no_token(operator):
    workspace = online()
    Launch.objects.filter(pk=workspace.launch_id).update(torn_down_at=workspace.created_at)
    answer = operator.post(f"/workspaces/{workspace.pk}/tokens")
    assert (answer.status_code, "its launch was stopped" in answer.json()["error"]) == (409, True)
    remove(workspace.pk)
    assert operator.post(f"/workspaces/{workspace.pk}/tokens").status_code == 410
    assert not AgentToken.objects.filter(workspace=workspace).exists()


def test_a_launch_has_a_limited_number_of_tokens(operator):
    workspace = online()
    AgentToken.objects.bulk_create(
        AgentToken(workspace=workspace, launch_id=workspace.launch_id, digest=str(number))
        for number in range(MOST_VALID_TOKENS)
    )
    answer = operator.post(f"/workspaces/{workspace.pk}/tokens")
    assert (answer.status_code, "Revoke one first" in answer.json()["error"]) == (409, True)
    operator.delete(f"/workspaces/{workspace.pk}/tokens/{AgentToken.objects.first().pk}")
    mint(operator, workspace)


@pytest.mark.parametrize("token_id", ["0", "-1", "x", str(2**63), "999999999"])
def test_an_unknown_token_is_not_found(operator, token_id):
    assert operator.delete(f"/workspaces/{online().pk}/tokens/{token_id}").status_code == 404


def test_the_token_of_another_workspace_is_not_found(operator):
    mine, other = online(), online()
    minted = mint(operator, other)
    assert operator.delete(f"/workspaces/{mine.pk}/tokens/{minted['id']}").status_code == 404
    assert beats(other, minted["auth_token"]).status_code == 200
