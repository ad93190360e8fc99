"""Every function of the database is in a file that people read, or is generated from the table of transitions."""

import pytest
from django.conf import settings
from django.db import connection

from workspaces.lifecycle.trigger import FUNCTION, guard_from_transitions

FILES = {path.stem: path for app in ("events", "workspaces") for path in settings.BASE_DIR.glob(f"{app}/sql/*.sql")}
_DEFINITIONS = """
SELECT oid::regprocedure::text, proname, pg_get_functiondef(oid), prosrc FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND NOT EXISTS (
    SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
)
"""


def database_functions():
    """Return the database's own functions, extensions' left out: signature → (name, definition, body)."""
    with connection.cursor() as cursor:
        cursor.execute(_DEFINITIONS)
        return {signature: rest for signature, *rest in cursor.fetchall()}


def run(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.django_db
def test_every_function_of_the_database_has_a_file_or_is_the_generated_guard():
    names = [name for name, _, _ in database_functions().values()]
    assert sorted(names) == sorted([*FILES, FUNCTION])


@pytest.mark.django_db
def test_running_the_files_and_the_guard_again_changes_no_function():
    before = database_functions()
    for path in FILES.values():
        run(path.read_text())
    run(guard_from_transitions().statement())
    assert database_functions() == before


@pytest.mark.django_db
@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_its_function_does_and_holds_the_database_s_body(name):
    text = FILES[name].read_text()
    (body,) = [body for found, _, body in database_functions().values() if found == name]
    assert f"$${body}$$" in text
    assert text.startswith("-- ")
    assert text.count("CREATE OR REPLACE FUNCTION") == 1


@pytest.mark.django_db
def test_a_function_that_differs_from_its_file_or_has_none_is_noticed():
    known = database_functions()
    run("CREATE FUNCTION stray() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    assert {name for name, _, _ in database_functions().values()} - {*FILES, FUNCTION} == {"stray"}
    run("ALTER FUNCTION events_mark(jsonb, timestamptz, integer) RESET ALL")
    assert (
        database_functions()["events_mark(jsonb,timestamp with time zone,integer)"]
        != known["events_mark(jsonb,timestamp with time zone,integer)"]
    )
