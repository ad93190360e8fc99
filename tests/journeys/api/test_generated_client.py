"""A typed client that openapi-python-client generates from docs/reference/openapi.json drives launches."""

import os
import subprocess
import sys
from importlib import import_module
from uuid import uuid4

import pytest
from django.conf import settings

from tests.waiting import PATIENCE_SECONDS, wait_until
from workspaces.access.api_keys import mint_api_key

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]
PACKAGE = "slipway_api"
DESCRIPTION = settings.BASE_DIR / "docs/reference/openapi.json"


def generate(description, folder):
    """Generate a client into a folder and return what the generator printed. Fails if that is a warning."""
    # The code is for this test alone, so nothing formats it.
    (folder / "generator.yaml").write_text("post_hooks: []\n")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"),
            *("--path", str(description), "--output-path", str(folder / PACKAGE)),
            *("--config", str(folder / "generator.yaml")),
        ],
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    printed = run.stdout + run.stderr
    assert run.returncode == 0, printed
    return printed


@pytest.fixture
def generated(tmp_path, monkeypatch):
    """Return a function that imports a module of the generated client."""
    printed = generate(DESCRIPTION, tmp_path)
    assert "warning" not in printed.lower(), printed
    assert "error" not in printed.lower(), printed
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: import_module(f"{PACKAGE}.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def calls(generated, stack):
    """Return a function that makes a call of the generated client by its name, as an operator."""
    stack.start()
    _, key = mint_api_key(name="generated", scopes=["operate"])
    address, options = f"http://127.0.0.1:{stack.port}", {"trust_env": False}
    with generated("client").AuthenticatedClient(
        base_url=address, token=key, raise_on_unexpected_status=True, httpx_args=options
    ) as client:

        def call(name, *arguments, group="workspaces", **named):
            return generated(f"api.{group}.{name}").sync(*arguments, client=client, **named)

        yield call


def test_a_generated_client_launches_a_workspace_and_operates_it(calls, generated):
    models = generated("models")
    status = models.WorkspaceStatus
    body = models.CreateIn(name="generated", template="echo", labels=models.CreateInLabelsType0.from_dict({"by": "it"}))
    created = calls("create_workspace", body=body, idempotency_key="once")
    assert isinstance(created, models.CreatedOut)
    assert created.status == status.PROVISIONING
    assert calls("create_workspace", body=body, idempotency_key="once").id == created.id

    def wait_for(wanted):
        wait_until(lambda: calls("get_state", created.id).status == wanted)

    wait_for(status.ONLINE)
    workspace = calls("get_workspace", created.id)
    assert isinstance(workspace, models.WorkspaceOut)
    assert workspace.failure is None
    assert workspace.created_at.tzinfo
    assert [each.id for each in calls("list_workspaces", label=["by=it"], limit=10)] == [created.id]
    [launch] = calls("list_launches", group="launches", runtime=["echo"])
    assert (launch.outcome, launch.workspace_id) == (models.LaunchOutcome.ONLINE, created.id)
    paused = calls("pause_workspace", created.id)
    assert isinstance(paused, models.CascadedOut)
    assert (paused.status, paused.went_along) == (status.PAUSED, 0)
    assert calls("resume_workspace", created.id).status == status.PROVISIONING
    wait_for(status.ONLINE)
    assert calls("restart_workspace", created.id).status == status.PROVISIONING
    wait_for(status.ONLINE)
    assert {each.event_type for each in calls("list_events", group="events")} >= {models.EventType.WORKSPACE_PAUSED}
    assert "serving" in calls("get_log", created.id) or calls("get_console", created.id).output
    removed = calls("remove_workspace", created.id)
    assert (removed.status, removed.cascade_deleted) == (status.REMOVED, 0)
    gone = calls("get_workspace", created.id)
    assert isinstance(gone, models.Error)
    assert gone.code == "removed"


def test_a_generated_client_tells_failures_and_refusals_apart_by_their_types(calls, generated):
    models = generated("models")
    created = calls("create_workspace", body=models.CreateIn(name="keyless", template="hermes"))
    wait_until(lambda: calls("get_state", created.id).status != models.WorkspaceStatus.PROVISIONING)
    failure = calls("get_workspace", created.id).failure
    assert failure.code == models.FailureCode.MISSING_ENV
    assert failure.owner == models.FailureOwner.CONFIGURATION
    assert "HERMES_API_KEY" in failure.message
    report = calls("preflight_workspace", created.id)
    assert [(each.name, each.set_) for each in report.variables if each.required] == [("HERMES_API_KEY", False)]
    refused = calls("pause_workspace", uuid4())
    assert isinstance(refused, models.Error)
    assert refused.code == "not_found"
    invalid = calls("create_workspace", body=models.CreateIn(name="", template="echo"))
    assert invalid.fields["name"]


def test_the_generator_warns_of_what_it_can_not_read(tmp_path):
    broken = DESCRIPTION.read_text().replace('"#/components/schemas/FailureOut"', '"#/components/schemas/Nowhere"')
    (tmp_path / "broken.json").write_text(broken)
    with pytest.raises(AssertionError, match="WARNING"):
        generate(tmp_path / "broken.json", tmp_path)
