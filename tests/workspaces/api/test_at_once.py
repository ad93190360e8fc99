"""If-Match and Idempotency-Key over real HTTP, with requests that come at the same time."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.config.conftest import serve_web
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import config_for, failed, online
from workspaces.access.api_keys import mint_api_key
from workspaces.models import AgentToken, ApiScope, Launch, StoredAnswer, Workspace

__all__ = ["serve_web"]
pytestmark = pytest.mark.django_db(transaction=True)
AT_ONCE = 8


class Operator:
    """A script with an API key of its own."""

    def __init__(self, web):
        _, key = mint_api_key(name="script", scopes=[ApiScope.READ, ApiScope.OPERATE])
        self.web, self.headers = web, {"Authorization": f"Bearer {key}"}

    def send(self, method, path, body=None, **headers):
        """Return the answer. A server that is busy with the same workspace is asked again, as it says."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        while True:
            answer = self.web.request(method, path, json=body, headers={**self.headers, **named})
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
            assert answer.headers["Retry-After"]

    def at_once(self, *arguments, **headers):
        """Send the same request many times at the same time."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            sent = [pool.submit(self.send, *arguments, **headers) for _ in range(AT_ONCE)]
            return [each.result(PATIENCE_SECONDS) for each in sent]


@pytest.fixture
def operator(serve_web):
    return Operator(serve_web())


def test_of_many_who_change_what_they_have_read_one_succeeds(operator):
    path = f"/workspaces/{online().pk}"
    read = operator.send("GET", path).headers["ETag"]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = [pool.submit(operator.send, "PATCH", path, {"role": f"r{n}"}, If_Match=read) for n in range(AT_ONCE)]
        statuses = sorted(each.result(PATIENCE_SECONDS).status_code for each in sent)
    assert statuses == [200] + [412] * (AT_ONCE - 1)


def test_of_many_who_restart_what_they_have_read_one_succeeds(operator):
    workspace = failed()
    path = f"/workspaces/{workspace.pk}"
    read = operator.send("GET", path).headers["ETag"]
    statuses = sorted(each.status_code for each in operator.at_once("POST", f"{path}/restart", If_Match=read))
    assert statuses == [200] + [412] * (AT_ONCE - 1)
    assert Launch.objects.filter(workspace=workspace).count() == 2


def test_what_names_another_state_changes_nothing_and_what_names_this_one_does(operator):
    path = f"/workspaces/{online(role='old').pk}"
    tag = operator.send("GET", path).headers["ETag"]
    # Of a script whose ETag is lost; weak, which is never the same; without quotes; of another state.
    for header in ("", f"W/{tag}", tag.strip('"'), '"*"', '"x"', '"x", "y"', b"\xfc"):
        for call, body in ((path, {"role": "new"}), (f"{path}/budget", {"budget_limit": 5})):
            answer = operator.send("PATCH", call, body, If_Match=header)
            assert (answer.status_code, answer.json()["code"]) == (412, "changed"), header
    assert (Workspace.objects.get().role, Workspace.objects.get().budget_limit) == ("old", None)
    for header in (f'"x" ,{tag}', "*"):
        assert operator.send("PATCH", path, {"role": "new"}, If_Match=header).status_code == 200


def one_answer(answers, *, status):
    """Return the answer of requests that all got the same one, all but the first from the store."""
    assert {answer.status_code for answer in answers} == {status}, [answer.text for answer in answers]
    assert len({answer.text for answer in answers}) == 1
    assert sorted(answer.headers.get("Idempotent-Replayed", "") for answer in answers) == ["", *["true"] * 7]
    return answers[0].json()


def test_of_many_equal_requests_at_once_one_is_done_and_all_get_its_answer(operator):
    body = {"name": "w", "config": config_for("echo")}
    made = one_answer(operator.at_once("POST", "/workspaces", body, Idempotency_Key="create"), status=201)
    assert str(Workspace.objects.get().pk) == made["id"]

    workspace = failed()
    path = f"/workspaces/{workspace.pk}"
    one_answer(operator.at_once("POST", f"{path}/restart", Idempotency_Key="restart"), status=200)
    assert Launch.objects.filter(workspace=workspace).count() == 2
    minted = one_answer(operator.at_once("POST", f"{path}/tokens", Idempotency_Key="mint"), status=200)
    assert AgentToken.objects.get(workspace=workspace).pk == minted["id"]
    # Another caller's request with the same key is another one.
    other = Operator(operator.web).send("POST", f"{path}/tokens", Idempotency_Key="mint").json()
    assert other["auth_token"] != minted["auth_token"]


def test_a_key_is_free_after_a_refusal_and_taken_by_what_succeeded(operator):
    path = f"/workspaces/{online().pk}"
    assert operator.send("POST", f"{path}/resume", Idempotency_Key="k").status_code == 409
    assert not StoredAnswer.objects.exists()
    operator.send("POST", f"{path}/pause")
    assert operator.send("POST", f"{path}/resume", Idempotency_Key="k").status_code == 200
    for call, body in ((f"{path}/restart", None), (f"{path}/tokens", None), (f"{path}/resume", {})):
        answer = operator.send("POST", call, body, Idempotency_Key="k")
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
