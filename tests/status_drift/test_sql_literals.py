"""Statuses in SQL, in the texts of Python and in SQL files, are found."""

import textwrap

import pytest

from tests.status_drift.scanning import found

SQL = {
    "UPDATE": "cursor.execute(\"UPDATE workspaces_workspace SET status = 'failed' WHERE id = 1\")",
    "lower-case letters": "cursor.execute(\"update workspaces_workspace set status='failed'\")",
    "capital letters": "cursor.execute(\"UPDATE WORKSPACES_WORKSPACE SET STATUS='failed'\")",
    "WHERE": "cursor.execute(\"SELECT id FROM workspaces_workspace WHERE status = 'failed'\")",
    "WHERE, the other way round": "cursor.execute(\"SELECT id FROM workspaces_workspace WHERE 'failed' = status\")",
    "an aliased table": "cursor.execute(\"SELECT 1 FROM workspaces_workspace AS w WHERE w.status <> 'failed'\")",
    "a quoted table": "cursor.execute('SELECT 1 FROM \"workspaces_workspace\" q WHERE q.\"status\" = \\'failed\\'')",
    "IN": "cursor.execute(\"DELETE FROM t WHERE status IN ('x', 'failed')\")",
    "ANY": "cursor.execute(\"DELETE FROM t WHERE status = ANY (ARRAY['failed'])\")",
    "IS DISTINCT FROM": "cursor.execute(\"DELETE FROM t WHERE status IS DISTINCT FROM 'failed'\")",
    "BETWEEN": "cursor.execute(\"DELETE FROM t WHERE status BETWEEN 'failed' AND 'x'\")",
    "a cast": "cursor.execute(\"SELECT 'failed'::workspace_status\")",
    "a cast column": "cursor.execute(\"SELECT 1 FROM t WHERE status::text LIKE 'failed'\")",
    "coalesce": "cursor.execute(\"SELECT coalesce(status, 'failed') FROM t\")",
    "INSERT": "cursor.execute(\"INSERT INTO t (id, status) VALUES (1, 'failed')\")",
    "INSERT, many rows": "cursor.execute(\"INSERT INTO t (status, id) VALUES ('x', 1), ('failed', 2)\")",
    "INSERT SELECT": "cursor.execute(\"INSERT INTO t (id, status) SELECT id, 'failed' FROM u\")",
    "INSERT without columns": "cursor.execute(\"INSERT INTO workspaces_workspace VALUES (1, 'failed')\")",
    "ON CONFLICT": "cursor.execute(\"INSERT INTO t (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET status = 'failed'\")",
    "CASE in SET": "cursor.execute(\"UPDATE t SET status = CASE WHEN a THEN 'failed' ELSE b END\")",
    "CASE over it": "cursor.execute(\"SELECT CASE status WHEN 'failed' THEN 1 END FROM t\")",
    "CASE WHEN": "cursor.execute(\"SELECT CASE WHEN status = 'failed' THEN 1 END FROM t\")",
    "a CTE": "cursor.execute(\"WITH f AS (SELECT id FROM t WHERE status = 'failed') SELECT * FROM f\")",
    "a CTE's VALUES": "cursor.execute(\"WITH n (status) AS (VALUES ('failed')) UPDATE t SET a = n.status FROM n\")",
    "a subquery": "cursor.execute(\"SELECT 1 WHERE EXISTS (SELECT 1 FROM t WHERE status = 'failed')\")",
    "a row": "cursor.execute(\"SELECT 1 FROM t WHERE (status, id) = ('failed', 1)\")",
    "a join": "cursor.execute(\"SELECT 1 FROM t JOIN u ON t.status = 'failed'\")",
    "an output's name": "cursor.execute(\"SELECT 'failed' AS status\")",
    "FILTER": "cursor.execute(\"SELECT count(*) FILTER (WHERE status = 'failed') FROM t\")",
    "RETURNING": "cursor.execute(\"UPDATE t SET a = 1 RETURNING status = 'failed'\")",
    "UNION": "cursor.execute(\"SELECT 1 UNION SELECT 2 FROM t WHERE status = 'failed'\")",
    "MERGE": "cursor.execute(\"MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN UPDATE SET status = 'failed'\")",
    "an f-string": "cursor.execute(f\"UPDATE {table} SET status = 'failed' WHERE id = {key}\")",
    "a column by f-string": "cursor.execute(f\"UPDATE t SET {status_column} = 'failed'\")",
    "a value by f-string": "cursor.execute(f\"UPDATE t SET status = '{'failed'}'\")",
    "format": "cursor.execute(\"UPDATE {} SET status = 'failed'\".format(table))",
    "a formatted value": "cursor.execute(\"UPDATE t SET status = '{}'\".format('failed'))",
    "per cent": "cursor.execute(\"UPDATE %s SET status = 'failed'\" % table)",
    "a percented value": "cursor.execute(\"UPDATE t SET status = '%s'\" % 'failed')",
    "a parameter": 'cursor.execute("UPDATE t SET status = %s WHERE id = %s", ["failed", 1])',
    "a named parameter": 'cursor.execute("UPDATE t SET status = %(to)s", {"to": "failed"})',
    "a parameter's name": 'BROKEN = "failed"\ncursor.execute("UPDATE t SET status = %s", [BROKEN])',
    "two strings": 'cursor.execute("UPDATE t " "SET status = \'failed\'")',
    "added strings": 'cursor.execute("UPDATE " + table + " SET status = \'failed\'")',
    "a constant's name": "QUERY = \"UPDATE t SET status = 'failed'\"\ncursor.execute(QUERY)",
    "a constant never executed here": "QUERY = \"SELECT 1 FROM t WHERE status = 'failed'\"",
    "a template never executed here": "QUERY = \"SELECT 1 FROM {table} WHERE status = 'failed'\"",
    "a condition never executed here": "WHERE = \"status = 'failed'\"",
    "a clause never executed here": "MORE = \"AND t.status IN ('failed', 'x') ORDER BY id\"",
    "an assignment never executed here": "SET = f\"status = 'failed', {more}\"",
    "joined lines": "cursor.execute(' '.join([\"UPDATE t\", \"SET status = 'failed'\"]))",
    "executemany": "cursor.executemany(\"UPDATE t SET status = 'failed' WHERE id = %s\", ids)",
    "raw": "Workspace.objects.raw(\"SELECT * FROM workspaces_workspace WHERE status = 'failed'\")",
    "a parameter by its keyword": "cursor.execute('UPDATE t SET status = %s', params=['failed'])",
    "a query by its keyword": "cursor.execute(query=\"UPDATE t SET status = 'failed'\")",
    "a stream": "cursor.stream(\"SELECT 1 FROM t WHERE status = 'failed'\")",
    "a copy": "cursor.copy(\"COPY (SELECT 1 FROM t WHERE status = 'failed') TO STDOUT\")",
    "RawSQL": "rows.annotate(x=RawSQL(\"SELECT 1 WHERE status = 'failed'\", []))",
    "a RawSQL of an expression": "rows.annotate(x=RawSQL(\"status = 'failed'\", []))",
    "extra's where": "rows.extra(where=[\"status = 'failed'\"])",
    "extra's select": "rows.extra(select={'x': \"status = 'failed'\"})",
    "psycopg.sql": "sql.SQL(\"UPDATE {} SET status = 'failed'\").format(sql.Identifier('t'))",
    "a fragment of psycopg.sql": "sql.SQL(\"status = 'failed'\")",
    "psycopg.sql's Literal": "sql.SQL(\"UPDATE t SET status = {}\").format(sql.Literal('failed'))",
    "psycopg.sql's Identifier": "sql.SQL(\"UPDATE t SET {} = 'failed'\").format(sql.Identifier('status'))",
    "a DO block": "cursor.execute(\"DO $$ BEGIN UPDATE t SET status = 'failed'; END $$\")",
    "several statements": "cursor.execute(\"SELECT 1; UPDATE t SET status = 'failed'\")",
    "an event's name": "cursor.execute(\"SELECT 1 FROM events_event WHERE event_type = 'WORKSPACE_ONLINE'\")",
}
# Here the table is known, so every string is a finding; {} is the string's text.
KNOWN_TABLE = {
    "UPDATE": "UPDATE workspaces_workspace SET status = '{}'",
    "UPDATE with an alias": "UPDATE workspaces_workspace AS w SET status = '{}' FROM events_event AS e",
    "CASE in SET": "UPDATE workspaces_workspace SET status = CASE WHEN held THEN '{}' ELSE status END",
    "coalesce in SET": "UPDATE workspaces_workspace SET status = coalesce(status, '{}')",
    "WHERE": "SELECT id FROM workspaces_workspace WHERE status = '{}'",
    "WHERE, the other way round": "SELECT id FROM workspaces_workspace WHERE '{}' <> status",
    "IN": "DELETE FROM workspaces_workspace WHERE status IN ('{}')",
    "ANY": "DELETE FROM workspaces_workspace WHERE status = ANY (ARRAY['{}'])",
    "ANY of an array's text": "DELETE FROM workspaces_workspace WHERE status = ANY ('{{{}}}')",
    "IS DISTINCT FROM": "DELETE FROM workspaces_workspace WHERE status IS DISTINCT FROM '{}'",
    "a cast column": "SELECT 1 FROM workspaces_workspace WHERE status::text = '{}'",
    "a join": "SELECT 1 FROM events_event AS e JOIN workspaces_workspace AS w ON w.status = '{}'",
    "a subquery": "DELETE FROM t WHERE id IN (SELECT id FROM workspaces_workspace WHERE status = '{}')",
    "a CTE": "WITH f AS (SELECT id FROM workspaces_workspace WHERE status = '{}') SELECT * FROM f",
    "CASE over it": "SELECT CASE status WHEN '{}' THEN 'x' END FROM workspaces_workspace",
    "a row": "SELECT 1 FROM workspaces_workspace WHERE (status, name) = ('{}', 'x')",
    "rows": "SELECT 1 FROM workspaces_workspace WHERE (status, name) IN (('{}', 'x'))",
    "INSERT": "INSERT INTO workspaces_workspace (name, status) VALUES ('x', '{}')",
    "INSERT SELECT": "INSERT INTO workspaces_workspace (name, status) SELECT 'x', '{}'",
    "ON CONFLICT": "INSERT INTO workspaces_workspace (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET status = '{}'",
    "MERGE": "MERGE INTO workspaces_workspace USING u ON u.id = 1 WHEN MATCHED THEN UPDATE SET status = '{}'",
    "an index": "CREATE INDEX i ON workspaces_workspace (id) WHERE status = '{}'",
    "the type": "SELECT '{}'::workspace_status",
    "the type's array": "SELECT '{{{}}}'::workspace_status[]",
    "a DO block": "DO $$ BEGIN UPDATE workspaces_workspace SET status = '{}'; END $$",
    "a function in PL/pgSQL": (
        "CREATE FUNCTION f(a integer) RETURNS SETOF integer LANGUAGE plpgsql AS $$\nBEGIN\n"
        "    RETURN QUERY SELECT 1 FROM workspaces_workspace WHERE status = '{}';\nEND $$"
    ),
    "a function in SQL": (
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS $$ SELECT 1 FROM workspaces_workspace w"
        " WHERE w.status = '{}' $$"
    ),
}
UNREADABLE = {
    "broken SQL": 'cursor.execute("UPDATE SET WHERE")',
    "SQL broken around a hole": 'cursor.execute(f"UPDATE {table} WHERE SET x")',
    "a broken fragment": 'sql.SQL("WHERE WHERE =")',
    "broken RunSQL": 'migrations.RunSQL("ALTER TABEL t ADD x int")',
}


@pytest.mark.parametrize("text", SQL.values(), ids=SQL.keys())
def test_a_raw_status_in_sql_is_found(text):
    findings = found(text).findings
    assert [finding.message for finding in findings if "written out in SQL" in finding.message], findings
    assert not [finding for finding in findings if "can't be parsed" in finding.message]


@pytest.mark.parametrize("value", ["failed", "faild", "broken"])
@pytest.mark.parametrize("path", ["workspaces/planted.py", "workspaces/planted.sql"])
@pytest.mark.parametrize("text", KNOWN_TABLE.values(), ids=KNOWN_TABLE.keys())
def test_any_string_beside_the_column_of_a_known_table_is_found(text, path, value):
    sql = text.format(value)
    (finding,) = found(sql if path.endswith(".sql") else f"cursor.execute({sql!r})", path=path).findings
    assert repr(value) in finding.message


@pytest.mark.parametrize(
    "text",
    [text for text in SQL.values() if "failed" in text],
    ids=[kind for kind, text in SQL.items() if "failed" in text],
)
def test_a_misspelled_status_in_sql_is_found(text):
    (finding,) = found(text.replace("failed", "faild")).findings
    assert "'faild'" in finding.message
    assert finding.fix.startswith("Did you mean WorkspaceStatus.FAILED?")


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_sql_that_should_parse_and_does_not_is_reported(text):
    (finding,) = found(text).findings
    assert "can't be parsed" in finding.message


def test_a_finding_in_a_long_statement_names_the_line_of_the_literal():
    text = '''
    QUERY = """
        UPDATE workspaces_workspace
        SET status = 'failed'
        WHERE id = %s
    """
    '''
    (finding,) = found(textwrap.dedent(text)).findings
    assert finding.line == 4


def test_a_migrations_sql_may_name_a_status_but_must_parse():
    path = "workspaces/migrations/0009_x.py"
    assert found("RunSQL(\"UPDATE t SET status = 'failed'\")", path=path).findings == []
    assert len(found('RunSQL("UPDATE t SET SET")', path=path).findings) == 1


def test_a_finding_in_an_sql_file_names_its_line_and_a_comment_silences_it():
    text = (
        "-- Rows whose status = 'failed'.\nSELECT 1;\nUPDATE workspaces_workspace\nSET status = 'failed'\n"
        "WHERE status = 'broken'; -- not-a-workspace-status: a test\n"
    )
    (finding,) = found(text.replace("-- not", "-- "), path="workspaces/sql/x.sql").findings[:1]
    assert (finding.path, finding.line) == ("workspaces/sql/x.sql", 4)
    report = found(text, path="workspaces/sql/x.sql")
    assert report.findings == []
    assert {one.reason for one in report.silenced} == {"a test"}


def test_an_sql_file_that_cannot_be_parsed_is_reported():
    (finding,) = found("SELECT 1;\nSELEC 2;\n", path="workspaces/sql/x.sql").findings
    assert "can't be parsed" in finding.message


def test_an_sql_file_with_placeholders_is_judged():
    text = "SELECT {names} FROM workspaces_workspace WHERE status = 'broken' AND id = %s"
    (finding,) = found(text, path="workspaces/sql/x.sql").findings
    assert finding.message.startswith("WorkspaceStatus has no value 'broken'")
