"""Every way to write a status by hand that we could think of is found, and what only looks like one is not."""

import textwrap
from dataclasses import replace

import pytest

from status_drift.enum_terms import MAX_EDITS, edit_distance, enum_term, event_names, native_enums
from status_drift.gate import scan_source
from status_drift.sources import parse, resolve_imports
from workspaces.models.workspaces import Workspace

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
# Beside these the model is known, so every string is a finding; {} is the string's text.
KNOWN_MODEL = {
    "update": 'Workspace.objects.update(status="{}")',
    "filter": 'Workspace.objects.filter(status="{}")',
    "a chain": 'Workspace.objects.exclude(name="x").select_related("parent").filter(status="{}").count()',
    "a queryset's own method": 'Workspace.objects.not_removed().update(status="{}")',
    "__in": 'Workspace.objects.filter(status__in=("{}",))',
    "__in with a member": 'Workspace.objects.filter(status__in=[S.ONLINE, "{}"])',
    "__in with a split string": 'Workspace.objects.filter(status__in="{}".split(","))',
    "another lookup": 'Workspace.objects.exclude(status__iexact="{}")',
    "create": 'Workspace.objects.create(name="x", status="{}")',
    "get_or_create's defaults": 'Workspace.objects.get_or_create(pk=1, defaults={{"status": "{}"}})',
    "keywords from a dict": 'Workspace.objects.filter(**{{"status": "{}"}})',
    "a constructor": 'Workspace(name="x", status="{}").save()',
    "an imported model": 'from workspaces.models.workspaces import Workspace as W\n\nW.objects.update(status="{}")',
    "a module's model": 'models.Workspace.objects.update(status="{}")',
    "an asynchronous call": 'async def f():\n    return await Workspace.objects.aget(status="{}")',
    "Q": 'Workspace.objects.filter(Q(name="x") | ~Q(status="{}"))',
    "Q of a pair": 'Workspace.objects.filter(Q(("status", "{}")))',
    "When": 'Workspace.objects.annotate(x=Case(When(status="{}", then=Value(1))))',
    "Case": 'Workspace.objects.update(status=Case(When(pk=1, then=Value("{}")), default=F("status")))',
    "Coalesce": 'Workspace.objects.update(status=Coalesce("status", Value("{}")))',
    "a conditional expression": 'Workspace.objects.update(status="{}" if broken else S.ONLINE)',
    "a constant's name": 'BROKEN = "{}"\nWorkspace.objects.filter(status=BROKEN)',
    "a local variable": 'def f():\n    broken = "{}"\n    Workspace.objects.filter(status=broken)',
    "a relation": 'Launch.objects.filter(workspace__status="{}")',
    "a relation's __in": 'Launch.objects.filter(workspace__status__in=["{}"])',
    "a relation of an unknown queryset": 'rows.filter(workspace__status="{}")',
    "a relation inside Q": 'x = Q(workspace__status="{}")',
    "a relation's row": 'launch = Launch.objects.get(pk=1)\nlaunch.workspace.status = "{}"',
    "a relation's queryset": 'def f(parent: Workspace):\n    parent.children.filter(status="{}")',
    "a typed parameter": 'def f(row: Workspace):\n    row.status = "{}"',
    "a typed parameter, as text": 'def f(row: "Workspace | None"):\n    return row.status == "{}"',
    "a typed queryset": 'def f(rows: QuerySet[Workspace]):\n    rows.filter(status="{}")',
    "a typed list": 'def f(rows: list[Workspace]):\n    return [row for row in rows if row.status == "{}"]',
    "a typed variable": 'row: Workspace = find()\nrow.status = "{}"',
    "a typed function": 'def find() -> Workspace:\n    return x\n\n\nrow = find()\nrow.status = "{}"',
    "a variable named by the model": 'workspace.status = "{}"',
    "an attribute named by the model": 'self.workspace.status = "{}"',
    "a new row": 'row = Workspace()\nrow.status = "{}"',
    "a row that was read": 'row = Workspace.objects.get(pk=1)\nif row.status != "{}":\n    pass',
    "a row of get_or_create": 'row, created = Workspace.objects.get_or_create(pk=1)\nrow.status = "{}"',
    "a row of a loop": 'for row in Workspace.objects.all():\n    row.status = "{}"',
    "a row of enumerate": 'for n, row in enumerate(Workspace.objects.all()):\n    row.status = "{}"',
    "an item": 'Workspace.objects.all()[0].status == "{}"',
    "a queryset in steps": 'rows = Workspace.objects.all()\nrows = rows.filter(pk=1)\nrows.update(status="{}")',
    "get_object_or_404": 'row = get_object_or_404(Workspace, pk=1)\nrow.status = "{}"',
    "first or None": 'row = None\nrow = Workspace.objects.first() or None\nrow.status = "{}"',
    "self of the model": 'class Workspace(Model):\n    def f(self):\n        return self.status == "{}"',
    "the model's constraint": (
        'class Workspace(Model):\n    class Meta:\n        x = [CheckConstraint(condition=Q(status="{}"))]'
    ),
    "self of its queryset": (
        'class WorkspaceQuerySet(QuerySet):\n    def f(self):\n        return self.filter(status="{}")'
    ),
    "self of a queryset by its type": (
        'class Fleet(QuerySet["Workspace"]):\n    def f(self):\n        return self.filter(status="{}")'
    ),
    "a comparison": 'def f(row: Workspace):\n    return "{}" == row.status',
    "a membership": 'def f(row: Workspace):\n    return row.status in ("{}", S.ONLINE)',
    "a membership in a set": 'def f(row: Workspace):\n    return row.status not in {{"{}"}}',
    "a comparison of str()": 'def f(row: Workspace):\n    return str(row.status) == "{}"',
    "a comparison of the value": 'def f(row: Workspace):\n    return row.status.value == "{}"',
    "a comparison of getattr": 'def f(row: Workspace):\n    return getattr(row, "status") == "{}"',
    "a comparison of a variable": 'def f(row: Workspace):\n    now = row.status\n    return now == "{}"',
    "setattr": 'def f(row: Workspace):\n    setattr(row, "status", "{}")',
    "match": 'def f(row: Workspace):\n    match row.status:\n        case "{}" | S.ONLINE:\n            pass',
    "match on the model": 'match row:\n    case Workspace(status="{}"):\n        pass',
    "a literal mapping": 'def f(row: Workspace):\n    return {{"{}": 1}}[row.status]',
    "a literal mapping's get": 'def f(row: Workspace):\n    return {{"{}": 1}}.get(row.status)',
    "the enum": 'WorkspaceStatus("{}")',
    "a variable of the enum": 'state: WorkspaceStatus = "{}"',
    "an optional variable of the enum": 'state: WorkspaceStatus | None = "{}"',
    "a set of the enum": 'STATES: frozenset[WorkspaceStatus] = frozenset({{"{}"}})',
    "a parameter of the enum": 'def f(state: WorkspaceStatus = "{}"):\n    pass',
    "a comparison of a parameter of the enum": 'def f(state: WorkspaceStatus):\n    return state == "{}"',
    "a result of the enum": 'def f() -> WorkspaceStatus:\n    return "{}"',
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
    "a health check's word": 'answer = {"status": "ready"}\nresponse.status == "ok"\nservice.status = "listening"',
    "another word in a queryset of elsewhere": 'rows.filter(status="broken")',
    "another class of the model's name": 'from other import Workspace\n\nWorkspace.objects.filter(status="broken")',
    "a snapshot": 'def f(workspace: Snapshot):\n    return workspace.status == "broken"',
    "another of the model's fields": 'Workspace.objects.filter(name="broken", status=S.FAILED)',
    "another of a relation's fields": 'Launch.objects.filter(outcome="broken", workspace__name="failed")',
    "an annotation": 'Workspace.objects.annotate(status_note=Value("broken"))',
    "the field's own name": 'Workspace.objects.update(status=F("status"))\nrow = Workspace.objects.values("status")',
    "an argument on the way to a status": 'Workspace.objects.update(status=choose("broken"))',
    "a subquery of another field": 'Workspace.objects.filter(status__in=Subquery(rows.filter(name="broken")))',
    "a method of the status": 'workspace.status.replace("_", " ")',
    "a label of the status": 'workspace.status.label == "Broken"',
    "a table of labels": 'LABELS: dict[WorkspaceStatus, str] = {S.FAILED: "It broke"}',
    "a table of verbs": 'STATUS_BY_VERB = {"pause": S.PAUSED, "remove": S.REMOVED}',
    "a variable of elsewhere": 'def f(state):\n    Workspace.objects.filter(status=state)\n\n\nstate = "broken"',
    "SQL about another table's column": "cursor.execute(\"UPDATE events_delivery SET state = 'broken'\")",
    "SQL about an unknown table": "cursor.execute(\"UPDATE jobs SET status = 'broken'\")",
    "SQL with another string": "cursor.execute(\"UPDATE workspaces_workspace SET status = %s, name = 'broken'\")",
    "SQL that formats the status": (
        "cursor.execute(\"SELECT replace(status::text, '_', ' '), status || '>' FROM workspaces_workspace\")"
    ),
    "SQL with an output of that name": "cursor.execute(\"SELECT 'broken' AS status FROM workspaces_workspace\")",
    "SQL with a key of that name": "cursor.execute(\"SELECT e.payload->>'status' = 'broken' FROM events_event e\")",
    "a name inside a longer text": 'help = "Sends WORKSPACE_ONLINE when it is"',
}


def found(text, *, path="workspaces/planted.py"):
    return scan_source(parse(text, path=path), terms=native_enums(), events=event_names())


@pytest.mark.parametrize("text", PYTHON.values(), ids=PYTHON.keys())
def test_a_raw_status_in_python_is_found(text):
    (line,) = {finding.line for finding in found(text).findings}
    written = text.splitlines()[line - 1]
    assert "led" in written or "WORKSPACE" in written or "AGENT" in written


@pytest.mark.parametrize(
    "text",
    [text for text in PYTHON.values() if "led" in text],
    ids=[kind for kind, text in PYTHON.items() if "led" in text],
)
def test_a_misspelled_status_in_python_is_found(text):
    misspelled = text.replace("failed", "faild").replace("Failed", "Faild").replace('"led"', '"ld"')
    findings = found(misspelled).findings
    assert len({finding.line for finding in findings}) == 1
    assert any(finding.fix.startswith("Did you mean WorkspaceStatus.FAILED?") for finding in findings)


@pytest.mark.parametrize("value", ["failed", "faild", "broken"])
@pytest.mark.parametrize("text", KNOWN_MODEL.values(), ids=KNOWN_MODEL.keys())
def test_any_string_beside_the_field_of_a_known_model_is_found(text, value):
    (finding,) = found(text.format(value)).findings
    assert repr(value) in finding.message


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


def test_a_field_of_that_name_with_another_type_is_left_alone():
    field = Workspace._meta.get_field("status")
    term = enum_term("workspace_status", [field])
    term = replace(term, field_names=frozenset({"state"}), fields=frozenset())
    text = 'Delivery.objects.filter(state="failed")\ndelivery.state = "faild"\n'
    sql = "cursor.execute(\"UPDATE events_delivery SET state = 'failed' WHERE state = 'faild'\")\n"
    assert scan_source(parse(text + sql, path="events/planted.py"), terms=[term], events={}).findings == []
    (finding,) = scan_source(parse('job.state = "failed"', path="x.py"), terms=[term], events={}).findings
    assert finding.fix == "Use WorkspaceStatus.FAILED."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'Workspace.objects.update(status="awaiting_agnet")',
            "WorkspaceStatus has no value 'awaiting_agnet'. Did you mean WorkspaceStatus.AWAITING_AGENT?",
        ),
        ('Workspace.objects.update(status="broken")', "WorkspaceStatus has no value 'broken'. Use a member"),
        (
            'row.status = "onlin"',
            "'onlin' looks like a misspelled status. Did you mean WorkspaceStatus.ONLINE? If it means something else, "
            "add `# not-a-workspace-status: reason`.",
        ),
    ],
)
def test_a_finding_about_an_unknown_value_says_which_one_was_meant(text, message):
    (finding,) = found(text).findings
    assert str(finding).startswith(f"workspaces/planted.py:1: {message}")


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


def test_a_mark_without_a_reason_in_an_sql_file_is_reported_in_its_own_syntax():
    (finding,) = found("SELECT 1; -- not-a-workspace-status:", path="workspaces/sql/x.sql").findings
    assert finding.fix == "Write `-- not-a-workspace-status: reason`, or remove it."


@pytest.mark.parametrize(
    ("left", "right", "edits"),
    [("online", "online", 0), ("onlin", "online", 1), ("onilne", "online", 1), ("olnie", "online", 2), ("x", "on", 2)],
)
def test_the_distance_of_two_texts_counts_edits_and_swaps(left, right, edits):
    assert edit_distance(left, right) == edits
    assert edit_distance(right, left) == edits


def test_texts_of_very_different_length_are_further_apart_than_any_misspelling():
    assert edit_distance("on", "offline") == MAX_EDITS + 1
