"""A new status is deployed on a real database while old code runs and writes, and rolled back.

The project is copied twice: `old` is unchanged, `new` has one more status. Each runs in its own processes.
"""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import uuid
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from django.conf import settings

from status_drift.sources import PACKAGES
from tests.waiting import wait_until

pytestmark = pytest.mark.journey
PARTS = ("catalog", *PACKAGES, "manage.py")
SECONDS = 120
# On a busy machine, a query may take longer than /ready allows, and an event wait longer.
PATIENT = """
from monitoring import readiness
readiness._TIMEOUT_SECONDS = readiness.MAX_RELAY_LAG_SECONDS = 120
"""
# Runs in the old code until its folder has a file `stop`: creates, fails and restarts workspaces, and asks /ready.
WRITER = f"""
import json, pathlib, sys, time
import django
django.setup()
{PATIENT}
from django.test import Client
from events.relay import number_all
from postgres.clock import database_now
from workspaces.lifecycle.transitions import FailureCode, FailureSource
from workspaces.services.launching.create import CreateRequest, create
from workspaces.services.launching.fail import FailureReason, fail
from workspaces.services.launching.restart import restart
reason = FailureReason(code=FailureCode.CRASHED, source=FailureSource.AGENT, message="It broke.")
folder = pathlib.Path(sys.argv[1])
seen = dict(writes=0, errors=[], unready=[], enum=[])
while not (folder / "stop").exists():
    try:
        row = create(CreateRequest(config="name: w\\nruntime: echo\\n"), now=database_now()).workspace
        fail(workspace_id=row.pk, launch_id=row.launch_id, reason=reason, now=database_now())
        restart(workspace_id=row.pk, now=database_now())
        seen["writes"] += 1
        number_all()
        answer = Client().get("/ready")
        if answer.status_code != 200:
            seen["unready"].append(answer.json())
        detail = answer.json()["checks"]["enum"]["detail"]
        if detail not in seen["enum"]:
            seen["enum"].append(detail)
    except Exception as error:
        seen["errors"].append(repr(error))
    (folder / "progress.tmp").write_text(json.dumps(seen))
    (folder / "progress.tmp").replace(folder / "progress")
    time.sleep(0.02)
"""
READY = f"""
import django
django.setup()
{PATIENT}
from django.test import Client
answer = Client().get("/ready")
print(answer.status_code, answer.json()["checks"]["enum"]["detail"])
"""


class Project:
    """A copy of the project, and the environment it runs in."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = environment | {"PYTHONPATH": str(folder), "DATA_DIR": str(folder / ".data")}

    def manage(self, *arguments, fails=False):
        """Run a manage.py command and return all its output."""
        return self.run("manage.py", *arguments, fails=fails)

    def python(self, code):
        return self.run("-W", "ignore", "-c", textwrap.dedent(code))

    def run(self, *arguments, fails=False):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        output = done.stdout + done.stderr
        assert bool(done.returncode) == fails, output
        return output

    def add_status(self):
        """Write what docs/how-to/add-a-status.md says."""
        self._replace(
            "workspaces/lifecycle/transitions.py",
            "    # Terminal: no transition leaves it.\n",
            '    QUARANTINED = "quarantined", "Quarantined"\n    # Terminal: no transition leaves it.\n',
        )
        self._replace(
            "workspaces/lifecycle/transitions.py",
            "    _row(Verb.WAKE,",
            '    _row(Verb.DEGRADE, {S.FAILED}, S.QUARANTINED, E.WORKSPACE_DEGRADED, "planted"),\n    _row(Verb.WAKE,',
        )
        self._replace(
            "workspaces/status_colours.py",
            "    WorkspaceStatus.REMOVED:",
            "    WorkspaceStatus.QUARANTINED: Colour.RED,\n    WorkspaceStatus.REMOVED:",
        )

    def _replace(self, path, old, new):
        text = (self.folder / path).read_text()
        assert text.count(old) == 1, path
        (self.folder / path).write_text(text.replace(old, new))

    @property
    def migrations(self):
        return sorted(path.stem for path in (self.folder / "workspaces" / "migrations").glob("0*.py"))


@pytest.fixture
def database():
    """A separate database, because a value that an upgrade adds to a type stays there."""
    name = f"upgrade_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(settings.DATABASE_URL, dbname="postgres", autocommit=True, connect_timeout=60) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
        yield urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}"))
        server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def environment(database):
    inherited = {name: os.environ[name] for name in ("REDIS_URL", "SECRET_KEY", "SECRETS_KEYS", "PATH", "HOME")}
    return inherited | {
        "DATABASE_URL": database,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "ALLOWED_HOSTS": "testserver",
    }


def copy_of_project(folder, environment):
    for part in PARTS:
        source = settings.BASE_DIR / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / part)
    return Project(folder, environment)


@contextmanager
def writing(project):
    """Let the project write and check its readiness during the block. Yield a function that reads its progress."""
    folder = project.folder
    progress = lambda: json.loads((folder / "progress").read_text())  # noqa: E731
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", WRITER, str(folder)], cwd=folder, env=project.environment
    ) as writer:
        try:
            wait_until(lambda: (folder / "progress").exists())
            yield progress
        finally:
            (folder / "stop").touch()
            writer.wait(SECONDS)


def wait_for_more_writes(progress, *, writes=5):
    goal = progress()["writes"] + writes
    wait_until(lambda: progress()["writes"] >= goal)


def test_a_new_status_is_deployed_and_taken_back_while_old_code_writes_and_stays_ready(tmp_path, environment, database):
    old = copy_of_project(tmp_path / "old", environment)
    new = copy_of_project(tmp_path / "new", environment)
    old.manage("migrate", "-v", "0")
    last = old.migrations[-1]

    with writing(old) as progress, psycopg.connect(database, autocommit=True, connect_timeout=60) as psql:
        # The code has the member but no migration adds it: the drift check and makemigrations report that.
        new.add_status()
        assert "lacks quarantined" in new.manage("check_status_drift", fails=True)
        assert "quarantined" in new.manage("makemigrations", "--check", "--dry-run", "--no-input", fails=True)

        new.manage("makemigrations", "--no-input")
        added, guarded = (name for name in new.migrations if name > last)
        text = (new.folder / "workspaces" / "migrations" / f"{added}.py").read_text()
        assert "AddEnumValue(" in text
        assert "after='failed'" in text.replace('"', "'")
        assert "GuardMoves(" in (new.folder / "workspaces" / "migrations" / f"{guarded}.py").read_text()
        assert "No changes detected" in new.manage("makemigrations", "--check", "--dry-run", "--no-input")

        # New code before its migration is not ready and names the value.
        answer = new.python(READY).splitlines()[0]
        assert answer == "503 workspace_status lacks quarantined: run `manage.py migrate`."

        new.manage("migrate", "-v", "0")
        wait_for_more_writes(progress)
        assert new.python(READY).startswith("200")
        assert "0 errors, 0 warnings" in new.manage("check_status_drift")
        values = psql.execute("SELECT enum_range(NULL::workspace_status)::text[]").fetchone()
        assert values is not None
        assert values[0][4:6] == ["failed", "quarantined"]

        # The trigger allows the new transition and still refuses others.
        key = "(SELECT id FROM workspaces_workspace WHERE status = 'provisioning' LIMIT 1)"
        fail = f"UPDATE workspaces_workspace SET status = 'quarantined', version = version + 1 WHERE id = {key}"  # noqa: S608
        with pytest.raises(psycopg.errors.CheckViolation, match="can't go from provisioning to quarantined"):
            psql.execute(fail.encode())

        # After the rollback the value stays, the former trigger is back, and the drift check only warns.
        new.manage("migrate", "workspaces", last, "-v", "0")
        wait_for_more_writes(progress)
        values = psql.execute("SELECT enum_range(NULL::workspace_status)::text[]").fetchone()
        assert values is not None
        assert "quarantined" in values[0]
        (guard,) = psql.execute(
            "SELECT prosrc FROM pg_proc WHERE proname = 'workspaces_workspace_guard'"
        ).fetchone() or ("",)
        assert "quarantined" not in guard
        output = old.manage("check_status_drift", "--live")
        assert "warning: The database's workspace_status has quarantined" in output
        assert "0 errors, 1 warnings" in output

        # Migrating again works although the value exists.
        new.manage("migrate", "-v", "0")
        wait_for_more_writes(progress)
        seen = progress()

    assert seen["errors"] == []
    assert seen["unready"] == []
    assert any("also has quarantined" in detail for detail in seen["enum"])
    assert "no difference" in old.manage("verify_log")
