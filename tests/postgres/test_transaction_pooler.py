"""Web processes and commands behind a transaction pooler, as docs/how-to/deploy.md sets them up."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings

from postgres.clock import database_now
from tests.callers import AgentCaller
from tests.config.conftest import serve_web
from tests.postgres.transaction_pooler import transaction_pooler
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting, online
from workspaces.access.api_keys import mint_api_key
from workspaces.models import Heartbeat, Workspace

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["serve_web"]
# As the page about deployment says.
OPTIONS = "disable_server_side_cursors=true"


@pytest.fixture
def pooler(child_environment):
    with transaction_pooler(child_environment["DATABASE_URL"]) as running:
        parts = urlsplit(child_environment["DATABASE_URL"])
        netloc = f"{parts.username}@127.0.0.1:{running.port}"
        running.url = urlunsplit(parts._replace(netloc=netloc))
        yield running


def test_the_pooler_runs_each_transaction_elsewhere_and_keeps_nothing_of_a_session(pooler):
    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as client:
        pids = [client.execute("SELECT pg_backend_pid()").fetchone()[0] for _ in range(6)]
        with client.transaction():
            within = [client.execute("SELECT pg_backend_pid()").fetchone()[0] for _ in range(3)]
    assert pids == pooler.used[:6] == pids[:3] * 2
    assert (len(set(pids)), len(set(within))) == (3, 1)
    # A prepared statement is parsed on one connection and run on another.
    with (
        pytest.raises(psycopg.errors.InvalidSqlStatementName),
        psycopg.connect(pooler.url, autocommit=True, prepare_threshold=0) as client,
    ):
        client.execute("SELECT 1")


@pytest.mark.parametrize("interface", ["wsgi", "asgi"])
def test_heartbeats_keys_locked_rows_and_lists_work_behind_a_pooler(serve_web, pooler, interface):
    agents = [AgentCaller(online(name=f"agent {number}")) for number in range(4)]
    _, key = mint_api_key(name="script", scopes=["read", "operate"])
    headers = {"Authorization": f"Bearer {key}"}
    client = serve_web(interface, DATABASE_URL=f"{pooler.url}?{OPTIONS}")
    before = len(pooler.used)

    def work(agent):
        """Return the statuses of an agent's and an operator's calls about one workspace."""
        path, told = f"/workspaces/{agent.workspace.pk}", {"workspace_id": str(agent.workspace.pk)}
        answers = []
        for number in range(10):
            body = {**told, "uptime_seconds": number, "active_tasks": 1, "current_task": f"task {number}"}
            answers += [
                client.post("/registry/heartbeat", json=body, headers=agent.headers),
                client.get("/workspaces", params={"limit": 2, "sort": "-name"}, headers=headers),
                client.patch(path, json={"role": f"role {number}"}, headers=headers),
            ]
        return [answer.status_code for answer in answers]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, agents)) == [[200] * 30] * 4, client.log.getvalue()
    assert set(Heartbeat.objects.values_list("current_task", flat=True)) == {"task 9"}
    assert set(Workspace.objects.values_list("role", flat=True)) == {"role 9"}
    for verb in ("pause", "resume"):
        changed = [client.post(f"/workspaces/{agent.workspace.pk}/{verb}", headers=headers) for agent in agents]
        assert [answer.status_code for answer in changed] == [200] * 4
    # It writes into a temporary table.
    assert client.get("/ready").json()["checks"]["database"]["ok"]
    transactions = pooler.used[before:]
    assert len(set(transactions)) == 3
    assert any(one != other for one, other in pairwise(transactions))


def sweep(child_environment, url, *options):
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "sweep_stuck", *options]
    environment = {**child_environment, "DATABASE_URL": url}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )


def test_the_sweep_works_behind_a_pooler_without_cursors_of_the_server(pooler, child_environment):
    late = [booting(name=f"boots {number}", now=database_now() - timedelta(hours=2)) for number in range(3)]
    dry = sweep(child_environment, f"{pooler.url}?{OPTIONS}", "--dry-run")
    assert (dry.returncode, [row.name in dry.stdout for row in late]) == (0, [True] * 3), dry
    ended = sweep(child_environment, f"{pooler.url}?{OPTIONS}")
    assert ended.returncode == 0, ended.stderr
    found = Workspace.objects.filter(pk__in=[row.pk for row in late]).values_list("status", flat=True)
    assert set(found) == {"failed"}, ended.stdout


def test_a_cursor_of_the_server_fails_behind_a_pooler(pooler, child_environment):
    """Shows that the option is needed."""
    booting(now=database_now() - timedelta(hours=2))
    dry = sweep(child_environment, pooler.url, "--dry-run")
    assert (dry.returncode != 0, "cursor" in dry.stderr) == (True, True), dry
