"""GET /settings/deadlines: the limits that `manage.py deadlines` explains, from the same function."""

import re
import uuid
from datetime import datetime
from io import StringIO

import pytest
from django.core.management import call_command

from tests.callers import holder
from tests.workspaces.factories import booting, config_for, online
from workspaces.models import ApiScope
from workspaces.overview import format_duration

pytestmark = pytest.mark.django_db

SHORT = "runtime_config: {provision_timeout_seconds: 700, stall_timeout_seconds: 90}\n"


@pytest.fixture
def reader():
    return holder(ApiScope.READ)


@pytest.fixture
def own_catalog(settings, tmp_path):
    settings.CATALOG_DIRS = [tmp_path]
    for name, runtime in (("impatient", "hermes"), ("brief", "echo")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(config_for(runtime, SHORT))


def limits(reader, **query):
    answer = reader.get("/settings/deadlines", **query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def command(*arguments):
    out = StringIO()
    call_command("deadlines", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def seconds(row):
    return {each["phase"]: each["seconds"] for each in row["phases"]}


def test_each_runtime_has_its_limits_and_the_others_have_theirs(reader):
    hermes, others = limits(reader)
    assert (hermes["runtime"], others["runtime"]) == ("hermes", None)
    assert seconds(hermes) == {"queued": 600, "launching": 120, "booting": 1800}
    assert seconds(others) == {"queued": 600, "launching": 120, "booting": 600}
    assert limits(reader, runtime="echo")[0]["phases"] == others["phases"]


def test_the_override_is_named_as_the_source_of_every_limit(reader, settings):
    settings.PROVISION_TIMEOUT_SECONDS = 77
    for row in limits(reader):
        assert {each["seconds"] for each in row["phases"]} == {77}
        assert all("PROVISION_TIMEOUT_SECONDS" in each["origin"] for each in row["phases"])


def test_a_workspace_has_its_own_limits_and_the_deadline_that_counts_now(reader):
    workspace = booting(config=config_for("echo", SHORT), provision_timeout_seconds=800)
    (row,) = limits(reader, workspace=str(workspace.pk))
    assert (row["runtime"], row["workspace_id"], row["stall_seconds"]) == ("echo", str(workspace.pk), 90)
    assert row["phases"][2]["source"] == "workspace"
    assert row["current"]["is_stall"] is True
    item = reader.get(f"/workspaces/{workspace.pk}").json()
    assert row["current"]["at"] == item["deadline_at"]
    assert datetime.fromisoformat(row["current"]["last_look_at"]).tzinfo
    (row,) = limits(reader, workspace=str(online().pk))
    assert row["current"] == {"at": None, "is_stall": False, "last_look_at": None}


@pytest.mark.usefixtures("own_catalog")
def test_command_and_api_tell_the_same(reader):
    workspace = booting(config=config_for("hermes", SHORT), runtime="")
    asked = [({}, ()), ({"runtime": "hermes"}, ("hermes",)), ({"workspace": str(workspace.pk)}, (str(workspace.pk),))]
    for query, arguments in asked:
        text, rows = command(*arguments), limits(reader, **query)
        told = [f"{format_duration(each['seconds'])}, from {each['origin']}" for row in rows for each in row["phases"]]
        assert all(line in text for line in told)
        assert re.findall(r"Warning: (.*)", text) == [warning for row in rows for warning in row["warnings"]]


@pytest.mark.usefixtures("own_catalog")
def test_limits_of_templates_that_do_not_count_are_named(reader):
    hermes, others = limits(reader)
    assert ["template impatient: " in warning for warning in hermes["warnings"]] == [True]
    # A limit below the default counts.
    assert others["warnings"] == limits(reader, runtime="echo")[0]["warnings"] == []


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({"workspace": "x"}, 422, "workspace"),
        ({"workspace": str(uuid.uuid4())}, 404, None),
        ({"runtime": ""}, 422, "runtime"),
        ({"runtime": "x" * 64}, 422, "runtime"),
        ({"runtime": "hermes", "workspace": str(uuid.uuid4())}, 422, "workspace"),
    ],
)
def test_a_wrong_question_is_refused(reader, query, status, field):
    answer = reader.get("/settings/deadlines", **query)
    assert (answer.status_code, next(iter(answer.json().get("fields", {})), None)) == (status, field)
