"""docs/reference/reports.md says what becomes of a report."""

import re
from typing import get_args, get_type_hints

import pytest
from django.conf import settings

from registry import schemas
from tests.callers import AgentCaller
from tests.workspaces.factories import booting, online
from workspaces.lifecycle.transitions import WorkspaceStatus

pytestmark = pytest.mark.django_db
PAGE = " ".join((settings.BASE_DIR / "docs/reference/reports.md").read_text().split())
REPORTS = [each for each in vars(schemas).values() if isinstance(each, type) and issubclass(each, schemas.Report)]


def test_it_lists_the_codes_of_a_failure():
    assert set(get_args(schemas.AgentFailureCode)) <= set(re.findall(r"`(\w+)`", PAGE))


def test_it_names_the_texts_that_may_be_something_else():
    [listed] = re.findall(r"((?:`\w+`(?:, | and )?)+) may be something other than a text", PAGE)
    any_text = {
        name
        for report in REPORTS
        for name, hint in get_type_hints(report, include_extras=True).items()
        if schemas.AnyText in get_args(hint)
    }
    assert set(re.findall(r"`(\w+)`", listed)) == any_text


def test_a_register_without_a_url_or_a_card_is_refused_and_null_is_none():
    assert "A register needs `id`, `url` and `agent_card`" in PAGE
    row = booting()
    agent = AgentCaller(row)
    whole = {"id": str(row.pk), "url": None, "agent_card": None}
    for name in whole:
        without = {key: value for key, value in whole.items() if key != name}
        answer = agent.post("/registry/register", without)
        assert (answer.status_code, answer.json()["fields"]) == (422, {name: "Field required."})
    row.refresh_from_db()
    assert row.status == WorkspaceStatus.PROVISIONING
    assert agent.post("/registry/register", whole).status_code == 200


def test_a_failure_that_comes_too_late_is_answered_as_the_page_says():
    answer, _ = re.findall(r"`(\{[^`]*no_change[^`]*\})`", PAGE)
    assert AgentCaller(online()).failed().content.decode() == answer
