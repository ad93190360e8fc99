"""Bad requests to a running server, whose entry reads bodies before Django does: answered as described."""

import pytest

from tests.config.api.refusals import bad_values
from tests.described import misfits_of_answer
from tests.workspaces.factories import online
from workspaces.access.api_keys import mint_api_key
from workspaces.access.tokens import mint_agent_token
from workspaces.models import ApiScope, Workspace

pytestmark = pytest.mark.django_db(transaction=True)
FIVE_MB = b"x" * 5_000_000


@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
def test_a_running_server_refuses_bad_requests_as_described(serve_web, interface):
    # With the rates that it has by default: these are fewer calls than they allow.
    workspace, client = online(), serve_web(interface)
    _, key = mint_api_key(name="script", scopes=[ApiScope.OPERATE])
    operator = {"Authorization": f"Bearer {key}"}
    agent = {"Authorization": f"Bearer {mint_agent_token(workspace)}"}
    own = f"/workspaces/{workspace.pk}"
    requests = [("POST", "/workspaces", operator, *case[:2]) for case in bad_values.BODIES.values()]
    for value, status, *_ in bad_values.PLACES.values():
        requests.append(("PATCH", own, operator, bad_values.field_as("name", value), status))
    requests += [("POST", path, agent, FIVE_MB, 413) for path in ("/registry/heartbeat", "/registry/register")]
    requests += [
        ("POST", "/registry/failed", agent, FIVE_MB * 2, 413),
        ("GET", "/workspaces", operator, FIVE_MB, 413),
        ("DELETE", f"{own}?confirm=true", operator, FIVE_MB, 413),
        ("PUT", "/workspaces", operator, b"{}", 405),
        ("GET", "/workspaces/%00", operator, b"", 404),
        ("GET", "/workspaces/%ed%a0%80", operator, b"", 404),
        ("GET", "/workspaces?q=%00", operator, b"", 422),
    ]
    wrong = []
    for method, path, headers, body, status in requests:
        answer = client.request(method, path, content=body, headers=headers)
        found = misfits_of_answer(method, path.partition("?")[0], answer)
        if answer.status_code != status or found:
            wrong.append((method, path, body[:40], status, answer.status_code, answer.content[:200], found))
    assert wrong == []
    [row] = Workspace.objects.all()
    assert (row.status, row.version, row.name) == (workspace.status, workspace.version, workspace.name)
