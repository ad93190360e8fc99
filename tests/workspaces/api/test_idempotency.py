"""Idempotency-Key: a repeated request is done once, its answer is the same, and no other caller can get at it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.test import override_settings

from postgres.clock import database_now
from tests.callers import Caller, holder
from tests.workspaces.factories import config_for, external, failed, online
from workspaces.models import AgentToken, ApiScope, Launch, StoredAnswer, Workspace
from workspaces.retention import prune

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator():
    return holder(ApiScope.OPERATE)


def post(caller, path, body=None, *, key="k-1"):
    headers = {**caller.headers, "Idempotency-Key": key}
    return caller.client.post(path, body or {}, content_type="application/json", headers=headers)


def new(**fields):
    return {"name": "w", "config": config_for("echo")} | fields


def test_a_repeated_create_answers_the_same_and_creates_one(operator):
    first, second = (post(operator, "/workspaces", new()) for _ in range(2))
    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert (first.get("Idempotent-Replayed"), second["Idempotent-Replayed"]) == (None, "true")
    assert Workspace.objects.count() == 1
    assert post(operator, "/workspaces", new(), key="k-2").json()["id"] != first.json()["id"]


def test_a_repeated_mint_shows_its_token_again_and_stores_it_only_encrypted(operator):
    path = f"/workspaces/{online().pk}/tokens"
    first, second = post(operator, path).json(), post(operator, path).json()
    assert first == second
    assert AgentToken.objects.count() == 1
    assert first["auth_token"] not in str(list(StoredAnswer.objects.values()))


def test_a_repeated_restart_begins_one_launch(operator):
    workspace = failed()
    answers = [post(operator, f"/workspaces/{workspace.pk}/restart") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert Launch.objects.filter(workspace=workspace).count() == 2
    # Another key, another restart.
    post(operator, f"/workspaces/{workspace.pk}/restart", key="k-2")
    assert Launch.objects.filter(workspace=workspace).count() == 3


def test_a_repeated_restart_of_an_external_workspace_keeps_its_new_token(operator):
    workspace = external()
    tokens = [
        post(operator, f"/workspaces/{workspace.pk}/restart").json()["connection"]["auth_token"] for _ in range(2)
    ]
    assert tokens[0] == tokens[1]
    assert Caller(tokens[1]).post("/registry/heartbeat", {"workspace_id": str(workspace.pk)}).status_code == 200


@pytest.mark.parametrize("other", ["body", "path"])
def test_a_key_that_came_with_another_request_is_refused(operator, other):
    post(operator, "/workspaces", new())
    path = "/workspaces?_x=1" if other == "path" else "/workspaces"
    answer = post(operator, path, new(name="other" if other == "body" else "w"))
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert Workspace.objects.count() == 1


def test_what_failed_is_done_anew(operator):
    assert post(operator, "/workspaces", new(config="runtime: [")).status_code == 422
    assert not StoredAnswer.objects.exists()
    assert post(operator, "/workspaces", new()).status_code == 201


def test_callers_with_the_same_key_do_not_get_each_others_answers(operator, admin_client):
    first = post(operator, "/workspaces", new()).json()
    # With the same name.
    second = post(holder(ApiScope.OPERATE), "/workspaces", new()).json()
    third = admin_client.post("/workspaces", new(), content_type="application/json", headers={"Idempotency-Key": "k-1"})
    assert len({first["id"], second["id"], third.json()["id"]}) == 3


@pytest.mark.parametrize("key", ["", " ", "x" * 256])
def test_a_key_that_is_none_is_refused(operator, key):
    assert post(operator, "/workspaces", new(), key=key).status_code == 422
    assert not Workspace.objects.exists()


def test_an_answer_is_kept_for_a_day(operator):
    post(operator, "/workspaces", new())
    StoredAnswer.objects.update(created_at=database_now() - timedelta(hours=23))
    assert "Idempotent-Replayed" in post(operator, "/workspaces", new())
    StoredAnswer.objects.update(created_at=database_now() - timedelta(hours=25))
    assert "Idempotent-Replayed" not in post(operator, "/workspaces", new())
    assert Workspace.objects.count() == 2
    StoredAnswer.objects.update(created_at=database_now() - timedelta(hours=25))
    list(prune(now=database_now()))
    assert not StoredAnswer.objects.exists()


def test_a_revoked_key_gets_no_stored_answer(operator):
    post(operator, "/workspaces", new())
    operator.headers["Authorization"] = "Bearer slw_revoked"
    assert post(operator, "/workspaces", new()).status_code == 401


@pytest.mark.django_db(transaction=True)
@override_settings(WEB_LOCK_TIMEOUT_SECONDS=30)
def test_of_many_equal_requests_at_once_one_is_done(operator):
    start = threading.Barrier(4)

    def send(_):
        start.wait()
        try:
            return post(Caller(operator.headers["Authorization"].removeprefix("Bearer ")), "/workspaces", new())
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(send, range(4)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert Workspace.objects.count() == 1
