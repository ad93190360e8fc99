"""The management command."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from status_drift.management.commands import check_status_drift


def run(**options):
    out = StringIO()
    call_command("check_status_drift", stdout=out, **options)
    return out.getvalue()


@pytest.mark.django_db
def test_the_command_is_green_here_and_says_how_much_it_looked_at():
    assert run().startswith("silenced: monitoring/health.py:")
    assert "0 errors, 0 warnings" in run()


@pytest.mark.django_db
def test_the_command_speaks_json():
    facts = json.loads(run(format="json"))
    assert facts["findings"] == []
    assert facts["files"] > 100


@pytest.mark.django_db
def test_the_command_warns_of_a_value_that_only_the_database_knows():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TYPE workspace_status ADD VALUE 'quarantined'")
    assert "warning: The database's workspace_status has quarantined" in run(live=True)


@pytest.mark.django_db
def test_the_command_fails_where_the_database_lacks_a_value():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'hibernated' TO 'asleep'")
    with pytest.raises(CommandError, match="1 things drifted"):
        run(live=True)


@pytest.mark.django_db
def test_another_order_in_the_database_is_a_warning():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'online' TO 'x'")
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'offline' TO 'online'")
        cursor.execute("ALTER TYPE workspace_status RENAME VALUE 'x' TO 'offline'")
    assert "has another order" in run(live=True)


def test_without_its_parser_the_command_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(check_status_drift, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"pglast.*--live"):
        run()


@pytest.mark.django_db
def test_the_live_half_needs_one_query(django_assert_num_queries):
    with django_assert_num_queries(1):
        run(live=True)
