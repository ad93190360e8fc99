"""What only looks like a status is left alone."""

import pytest

from tests.status_drift.scanning import found

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
    "a word that is not a status": 'status = "broken"',
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
    "the names of fields": 'Workspace.objects.bulk_update(x, ["status", "name"])\nrow.save(update_fields=["status"])',
    "a label of that name": 'Workspace.objects.filter(labels__contains={"status": "broken"})',
    "a label's key": 'def f(row: Workspace):\n    return row.labels["status"] == "broken"',
    "a label's key of values": 'Workspace.objects.values("labels")[0]["labels"]["status"] == "broken"',
    "a log message's argument": 'def f(row: Workspace):\n    logger.info("x %s %s", row.status, "broken")',
    "a text for a status": 'def f(row: Workspace):\n    return "broken" if row.status == S.FAILED else "fine"',
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


@pytest.mark.parametrize("text", LOOK_ALIKES.values(), ids=LOOK_ALIKES.keys())
def test_what_only_looks_like_a_status_is_left_alone(text):
    assert found(text).findings == []
