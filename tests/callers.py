"""Clients of the HTTP API: an agent, or a script with an API key."""

from django.db.models.functions import Now

from tests.described import DescribedClient
from workspaces.access.api_keys import mint_api_key
from workspaces.access.tokens import mint_agent_token
from workspaces.models import ApiKey


class Caller:
    """A client with a bearer credential, or with none."""

    def __init__(self, credential=""):
        self.client = DescribedClient(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {credential}"} if credential else {}

    def post(self, path, body=None, *, content_type="application/json"):
        return self.client.post(path, {} if body is None else body, content_type=content_type, headers=self.headers)

    def get(self, path, **query):
        return self.client.get(path, query, headers=self.headers)

    def delete(self, path):
        return self.client.delete(path, headers=self.headers)


class AgentCaller(Caller):
    """The agent of a workspace's current launch."""

    def __init__(self, workspace):
        self.workspace = workspace
        super().__init__(mint_agent_token(workspace))

    def register(self, **fields):
        body = {"id": str(self.workspace.pk), "url": "http://localhost:9", "agent_card": {"name": "a"}} | fields
        return self.post("/registry/register", body)

    def beat(self, **fields):
        return self._report("heartbeat", fields)

    def progress(self, **fields):
        return self._report("progress", {"step": "install"} | fields)

    def failed(self, **fields):
        return self._report("failed", {"code": "crashed", "error": "It broke."} | fields)

    def _report(self, call, fields):
        return self.post(f"/registry/{call}", {"workspace_id": str(self.workspace.pk)} | fields)


def holder(*scopes):
    """Return a client with an API key of these scopes. Its use was just noted, so no request takes queries for that."""
    row, key = mint_api_key(name="script", scopes=[scope.value for scope in scopes])
    ApiKey.objects.filter(pk=row.pk).update(last_used_at=Now())
    return Caller(key)
