"""Every way to write a status by hand that we could think of is found, and what only looks like one is not."""

import textwrap

import pytest

from status_drift.enum_terms import event_names, native_enums
from status_drift.gate import scan_source
from status_drift.sources import parse, resolve_imports

PYTHON = {
    "a keyword": 'create(status="failed")',
    "a keyword of update": 'Workspace.objects.update(status="failed")',
    "a keyword inside Value": 'rows.update(status=Value("failed"))',
    "a list after __in": 'rows.filter(status__in=["failed", online])',
    "a tuple after a relation's __in": 'rows.exclude(workspace__status__in=("failed",))',
    "a lookup": 'rows.filter(status__iexact="failed")',
    "Q": 'Q(status="failed") | Q(name="x")',
    "Q of a pair": 'Q(("status", "failed"))',
    "Q by keywords from a dict": 'rows.filter(**{"status": "failed"})',
    "a label's letter case": 'rows.filter(status="Failed")',
    "dict()": 'dict(status="failed")',
    "a dict's entry": 'answer = {"id": 1, "status": "failed"}',
    "a dict's entry by a constant's name": 'answer = {STATUS_KEY: "failed"}',
    "get_or_create's defaults": 'rows.get_or_create(pk=1, defaults={"status": "failed"})',
    "an attribute": 'workspace.status = "failed"',
    "an attribute of an attribute": 'self.workspace.status = "failed"',
    "a variable": 'status = "failed"',
    "a variable whose name holds it": 'new_status = "failed"',
    "a constant in capitals": 'TERMINAL_STATUSES = {"failed"}',
    "an annotated variable": 'status: str = "failed"',
    "a variable annotated with the enum": 'state: WorkspaceStatus = "failed"',
    "a Literal annotation": 'status: Literal["failed", "other"]',
    "several targets": 'code, status = 1, "failed"',
    "a walrus": 'if (status := "failed"):\n    pass',
    "an item": 'row["status"] = "failed"',
    "an augmented assignment": 'row.status += "failed"',
    "setattr": 'setattr(workspace, "status", "failed")',
    "getattr's default": 'getattr(workspace, "status", "failed")',
    "a default argument": 'def move(status="failed"):\n    pass',
    "a keyword-only default": 'def move(*, status="failed"):\n    pass',
    "a default of an argument annotated with the enum": 'def move(to: WorkspaceStatus = "failed"):\n    pass',
    "a lambda's default": 'key = lambda status="failed": status',
    "equality": 'workspace.status == "failed"',
    "equality, the other way round": '"failed" != workspace.status',
    "membership": 'workspace.status in ("failed", "x")',
    "membership in a split string": 'workspace.status in "failed,removed".split(",")',
    "a comparison of str()": 'str(workspace.status) == "failed"',
    "a comparison of an item": 'row["status"] == "failed"',
    "a comparison of get": 'row.get("status") == "failed"',
    "a comparison of getattr": 'getattr(row, "status") == "failed"',
    "a comparison inside a condition": 'x = 1 if row.status == "failed" and row.version else 2',
    "a method of the status": 'workspace.status.startswith("failed")',
    "a mapping by status": 'STATUS_LABELS = {"failed": "It failed"}',
    "a mapping to statuses": 'STATUS_BY_VERB = {"fail": "failed"}',
    "a literal mapping asked by status": 'x = {"failed": 1}[workspace.status]',
    "a literal mapping got by status": 'x = {"failed": 1}.get(workspace.status)',
    "an item of a mapping by status": 'STATUS_LABELS["failed"]',
    "a call of the enum": 'WorkspaceStatus("failed")',
    "a function named by it": 'set_status(workspace, "failed")',
    "what a function named by it returns": 'def status_of(row):\n    return "failed"',
    "what a function returns as the enum": 'def where(row) -> WorkspaceStatus:\n    return "failed"',
    "a loop": 'for status in ("failed", "x"):\n    pass',
    "a comprehension": 'x = [1 for status in ["failed"]]',
    "match": 'match row.status:\n    case "failed":\n        pass',
    "match with alternatives": 'match row.status:\n    case "x" | "failed":\n        pass',
    "match on a mapping": 'match row:\n    case {"status": "failed"}:\n        pass',
    "match on a class": 'match row:\n    case Row(status="failed"):\n        pass',
    "Case and When": 'rows.update(status=Case(When(pk=1, then=Value("failed")), default=F("status")))',
    "When on a status": 'x = When(status=S.ONLINE, then=Value("failed"))',
    "Case over F": 'x = Case(When(Q(status=S.ONLINE), then=Value("failed")), default=Value("x"))',
    "a conditional expression": 'status = "failed" if broken else other',
    "or": 'status = given or "failed"',
    "an f-string": 'status = f"failed"',
    "an f-string of a constant": "status = f\"{'failed'}\"",
    "joined constants": 'status = "fai" "led"',
    "added constants": 'status = "fai" + "led"',
    "bytes": 'status = b"failed"',
    "a constant's name": 'BROKEN = "failed"\nrows.filter(status=BROKEN)',
    "a constant list's name": 'BROKEN = ["failed"]\nrows.filter(status__in=BROKEN)',
    "a class's constant": 'class Row:\n    BROKEN = "failed"\n\n\nrow.status = Row.BROKEN',
    "another enum of the same values": 'class StatusToo(TextChoices):\n    FAILED = "failed"',
    "a query string": 'redirect("/admin/?status__exact=failed")',
    "an f-string's query string": 'redirect(f"{page}?status=failed&x={x}")',
    "a filter of a pair": 'x = [("status", "failed")]',
    "a nested call": 'rows.filter(status=Cast(Value("failed"), EnumField()))',
    "an event's name": 'record("WORKSPACE_ONLINE")',
    "an event's name compared": 'event.event_type == "AGENT_CARD_UPDATED"',
    "a live event's name": 'send({"event": "WORKSPACE_PROGRESS"})',
}
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
UNREADABLE = {
    "broken SQL": 'cursor.execute("UPDATE SET WHERE")',
    "SQL broken around a hole": 'cursor.execute(f"UPDATE {table} WHERE SET x")',
    "a broken fragment": 'sql.SQL("WHERE WHERE =")',
    "broken RunSQL": 'migrations.RunSQL("ALTER TABEL t ADD x int")',
}
DYNAMIC = {
    "a variable of elsewhere": "cursor.execute(statement)",
    "a call of elsewhere": "cursor.execute(build(rows))",
    "a parameter of a function that anyone calls": "def run(query):\n    cursor.execute(query)\n\n\nrun('SELECT 1')",
    "a parameter that nobody passes": "def _run(query):\n    cursor.execute(query)",
    "a parameter for which one passes what nobody knows": (
        "def _run(query):\n    cursor.execute(query)\n\n\n_run('SELECT 1')\n_run(given)"
    ),
    "a parameter of a private function that is handed on": (
        "def _run(cursor, text):\n    cursor.execute(text)\n\n\n_run(c, 'SELECT 1')\npartial(_run, c)(given[0])"
    ),
    "a parameter of a private method that is handed on": (
        "class A:\n    def _run(self, text):\n        cursor.execute(text)\n\n"
        "    def all(self):\n        self._run('SELECT 1')\n        map(self._run, given)"
    ),
    "a parameter of a private function that a decorator hands on": (
        "@registered\ndef _run(text):\n    cursor.execute(text)\n\n\n_run('SELECT 1')"
    ),
    "a parameter behind a list of elsewhere": (
        "def _run(cursor, text):\n    cursor.execute(text)\n\n\n_run(*given, 'SELECT 1')"
    ),
    "a cursor's method that is handed on": "run = cursor.execute\nrun(query)",
    "a cursor's method in a partial": "partial(cursor.executemany, query)(rows)",
    "a manager's method that is handed on": "read = Workspace.objects.raw\nread(query)",
    "a clause in a text that nobody here executes": 'run(f"UPDATE t SET a = 1 {clause}")',
    "a clause formatted into a text that nobody here executes": 'run("SELECT 1 FROM t {} ORDER BY id".format(where))',
    "a query by its keyword": "cursor.execute(query=query)",
    "a query by its keyword of Django's": "cursor.executemany(sql=query, param_list=rows)",
    "a raw query by its keyword": "Workspace.objects.raw(raw_query=query)",
    "keywords of elsewhere": "cursor.execute(**given)",
    "a stream": "cursor.stream(query)",
    "a copy": "with cursor.copy(query) as copy:\n    pass",
    "a copy by its keyword": "cursor.copy(statement=query)",
    "read from a file": 'cursor.execute((FOLDER / "x.sql").read_text())',
    "joined from a list of elsewhere": 'cursor.execute(" ".join(parts))',
    "assignments in an f-string": 'cursor.execute(f"UPDATE t SET {assignments}")',
    "a clause in an f-string": 'cursor.execute(f"SELECT 1 FROM t {where} ORDER BY id")',
    "an added clause": 'cursor.execute("SELECT 1 FROM t WHERE id = 1 " + more)',
    "raw": "Workspace.objects.raw(query)",
    "RawSQL": "rows.annotate(x=RawSQL(text, []))",
    "RunSQL": "migrations.RunSQL(text)",
    "extra's where": "rows.extra(where=[condition])",
    "psycopg.sql": "sql.SQL(text)",
    "a part put into psycopg.sql": "cursor.execute(sql.SQL('SELECT {}').format(sql.SQL(text or 'a')))",
}
# What the line of such a finding has.
SINKS = ("execute", "stream", "copy", "raw", "RawSQL", "RunSQL", "extra", "SQL(", "run(")
LOOK_ALIKES = {
    "a comment": "# sets status = 'failed'\nx = 1",
    "a docstring": '"""Rows whose status = \'failed\'."""',
    "a function's docstring that is SQL": 'def f():\n    """SELECT 1 FROM t WHERE status = \'failed\'"""',
    "a log message": 'logger.info("The status failed", extra={"status": workspace.status})',
    "a log message with an equals sign": 'logger.warning("status=failed")',
    "an HTTP code": "HttpResponse(status=410)",
    "an HTTP response's other argument": 'HttpResponse("failed", status=400)',
    "an HTTP status compared": "response.status_code == HTTPStatus.OK",
    "another column": 'Launch.objects.filter(outcome="failed")',
    "another column beside it": 'rows.filter(status=S.FAILED, outcome="failed")',
    "another entry beside it": 'x = {"status": workspace.status, "outcome": "failed"}',
    "another variable": 'outcome = "failed"',
    "another comparison": 'launch.outcome == "failed" and workspace.status == S.FAILED',
    "another column's condition in a Case": 'rows.update(status=Case(When(outcome="failed", then=Value(S.FAILED))))',
    "a dict's key of another thing": 'LABELS = {"failed": 1}',
    "an enum's member": "workspace.status = WorkspaceStatus.FAILED",
    "a prose string beside it": 'describe(status, "It failed at once")',
    "a word that is no status": 'status = "broken"',
    "the field's name": 'rows.order_by("status").values_list("status", "outcome")',
    "an enum's member by item": "WorkspaceStatus[name]",
    "a stand-alone word": 'x = "failed"\ny = "removed"',
    "a path": 'path("workspaces/failed", view)',
    "SQL about another column": "cursor.execute(\"UPDATE t SET outcome = 'failed' WHERE id = 1\")",
    "SQL with another column beside it": "cursor.execute(\"SELECT status FROM t WHERE outcome = 'failed'\")",
    "an INSERT of another column": "cursor.execute(\"INSERT INTO t (status, outcome) VALUES (%s, 'failed')\")",
    "an UPDATE of another column": "cursor.execute(\"UPDATE t SET status = %s, outcome = 'failed'\")",
    "SQL with a parameter": 'cursor.execute("UPDATE t SET status = %s", [WorkspaceStatus.FAILED])',
    "prose that begins like SQL": 'help = "Update the status of failed workspaces, or select others"',
    "SQL in a log message about no status": 'logger.info("SELECT 1")',
    "fragments of psycopg.sql": 'sql.SQL(", ").join([sql.SQL("{0} = new.{0}"), sql.SQL("%s::uuid[]")])',
    "SQL passed on by a function of ours": (
        "def _fetch(query, values):\n    cursor.execute(query, values)\n\n\n_fetch('SELECT 1 FROM t', [])"
    ),
    "SQL passed on by a method, under its name": (
        "class A:\n    def _fetch(self, n, query):\n        cursor.execute(query)\n\n"
        "    def read(self):\n        self._fetch(1, query='SELECT 1')"
    ),
    "SQL that a function of this file returns": "def text():\n    return 'SELECT 1'\n\n\ncursor.execute(text())",
    "SQL chosen from a table of constants": "Q = {1: 'SELECT 1', 2: 'SELECT 2'}\ncursor.execute(Q[x])",
    "SQL that is one or another": "cursor.execute('SELECT 1' if a else 'SELECT 2')",
    "a composition by its type": "def run(statement: sql.Composable):\n    cursor.execute(statement.as_string(c))",
    "a composition that a function returns": (
        "def _set(names) -> sql.Composed:\n    return sql.SQL('UPDATE t SET {}').format(names)\n\n\n"
        "cursor.execute(_set(names))"
    ),
    "prose with a quoted status": "help = \"The status 'failed' says why; a status of 'removed' is terminal.\"",
    "a condition about another column": "WHERE = \"status = %s AND outcome = 'failed'\"",
    "a name in an f-string": 'cursor.execute(f"SELECT 1 FROM {table} WHERE {column} = {number}")',
    "a copy of something": "x = given.copy()\nshutil.copy(a, b)\ncopy.copy(x)\ncopy(x)",
    "a stream of something": 'client.stream("POST", url)\nstream(x)\nasked.stream(hub, scope, send)\nhub.stream()',
    "a clause in prose": 'logger.info(f"Update of {name}: select {what} or {that}")',
    "no statement at all": "RunSQL('SELECT 1', RunSQL.noop)",
    "an event's label": 'label = "Online"',
    "a name inside a longer text": 'help = "Sends WORKSPACE_ONLINE when it is"',
}


def found(text, *, path="workspaces/planted.py"):
    return scan_source(parse(text, path=path), terms=native_enums(), events=event_names())


@pytest.mark.parametrize("text", PYTHON.values(), ids=PYTHON.keys())
def test_a_raw_status_in_python_is_found(text):
    (line,) = {finding.line for finding in found(text).findings}
    written = text.splitlines()[line - 1]
    assert "led" in written or "WORKSPACE" in written or "AGENT" in written


@pytest.mark.parametrize("text", SQL.values(), ids=SQL.keys())
def test_a_raw_status_in_sql_is_found(text):
    findings = found(text).findings
    assert [finding.message for finding in findings if "written out in SQL" in finding.message], findings
    assert not [finding for finding in findings if "can't be parsed" in finding.message]


@pytest.mark.parametrize("text", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_sql_that_should_parse_and_does_not_is_reported(text):
    (finding,) = found(text).findings
    assert "can't be parsed" in finding.message


@pytest.mark.parametrize("text", DYNAMIC.values(), ids=DYNAMIC.keys())
def test_sql_that_is_made_at_run_time_is_reported_where_it_is_executed(text):
    (finding,) = found(text).findings
    assert "made at run time" in finding.message
    written = text.splitlines()[finding.line - 1]
    assert any(sink in written for sink in SINKS)


@pytest.mark.parametrize("text", DYNAMIC.values(), ids=DYNAMIC.keys())
def test_a_comment_with_a_reason_lets_sql_be_made_at_run_time_and_is_counted(text):
    (finding,) = found(text).findings
    lines = text.splitlines()
    lines[finding.line - 1] += "  # dynamic-sql: names of columns only"
    report = found("\n".join(lines))
    assert report.findings == []
    assert [one.reason for one in report.silenced] == ["names of columns only"]


def test_the_mark_for_dynamic_sql_lets_no_status_through_and_the_other_way_round():
    assert len(found("row.status = 'failed'  # dynamic-sql: not at all").findings) == 2
    assert len(found("cursor.execute(query)  # not-a-workspace-status: of a job").findings) == 2


@pytest.mark.parametrize("text", LOOK_ALIKES.values(), ids=LOOK_ALIKES.keys())
def test_what_only_looks_like_a_status_is_left_alone(text):
    assert found(text).findings == []


def test_a_raw_status_that_another_file_holds_is_found_where_it_is_used():
    holder = parse('BROKEN = "failed"', path="workspaces/holder.py")
    user = parse("from workspaces.holder import BROKEN as X\n\nrows.filter(status=X)", path="workspaces/user.py")
    resolve_imports([holder, user])
    (finding,) = scan_source(user, terms=native_enums(), events=event_names()).findings
    assert (finding.path, finding.line) == ("workspaces/user.py", 3)
    assert scan_source(holder, terms=native_enums(), events=event_names()).findings == []


def test_a_finding_says_where_it_stands_and_what_to_write():
    (finding,) = found("import x\n\n\nworkspace.status = 'failed'\n").findings
    assert (finding.path, finding.line) == ("workspaces/planted.py", 4)
    assert str(finding) == ("workspaces/planted.py:4: The status 'failed' is written out. Use WorkspaceStatus.FAILED.")


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


@pytest.mark.parametrize(
    "text",
    [
        "answer = {'status': 'failed'}  # not-a-workspace-status: of this process",
        'cursor.execute("""\nUPDATE t\nSET status = \'failed\'\n""")  # not-a-workspace-status: of another table',
        "record('WORKSPACE_ONLINE')  # not-a-workspace-status: a test of names",
    ],
)
def test_a_comment_with_a_reason_silences_its_line_and_is_counted(text):
    report = found(text)
    assert report.findings == []
    assert len(report.silenced) == 1
    assert report.silenced[0].reason.startswith(("of ", "a test"))


def test_a_comment_silences_its_own_line_only():
    text = "a.status = 'failed'  # not-a-workspace-status: of a job\nb.status = 'failed'"
    assert [finding.line for finding in found(text).findings] == [2]


def test_a_comment_without_a_reason_silences_nothing_and_is_reported():
    messages = [finding.message for finding in found("a.status = 'failed'  # not-a-workspace-status:").findings]
    assert messages == ["The status 'failed' is written out.", "This mark gives no reason."]


def test_a_comment_that_silences_nothing_is_reported():
    (finding,) = found("a = 1  # not-a-workspace-status: of a job").findings
    assert finding.message == "This mark silences nothing."


def test_a_string_that_looks_like_the_comment_silences_nothing():
    assert len(found("a.status = 'failed'; x = '# not-a-workspace-status: of a job'").findings) == 1


@pytest.mark.parametrize(
    "path", ["workspaces/migrations/0009_x.py", "workspaces/lifecycle/transitions.py", "events/names.py"]
)
def test_migrations_and_the_enums_themselves_may_write_values_out(path):
    assert found('status = "failed"\nx = "WORKSPACE_ONLINE"', path=path).findings == []


def test_a_migrations_sql_may_name_a_status_but_must_parse():
    path = "workspaces/migrations/0009_x.py"
    assert found("RunSQL(\"UPDATE t SET status = 'failed'\")", path=path).findings == []
    assert len(found('RunSQL("UPDATE t SET SET")', path=path).findings) == 1
