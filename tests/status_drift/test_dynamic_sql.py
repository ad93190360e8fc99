"""SQL that is made at run time is reported where it is executed."""

import pytest

from tests.status_drift.scanning import found

DYNAMIC = {
    "a variable of elsewhere": "cursor.execute(statement)",
    "a call of elsewhere": "cursor.execute(build(rows))",
    "a parameter of a function that anyone calls": "def run(query):\n    cursor.execute(query)\n\n\nrun('SELECT 1')",
    "a parameter without a caller": "def _run(query):\n    cursor.execute(query)",
    "a parameter with an unknown argument": (
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
    "a clause in a text not executed here": 'run(f"UPDATE t SET a = 1 {clause}")',
    "a clause formatted into a text not executed here": 'run("SELECT 1 FROM t {} ORDER BY id".format(where))',
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
EXECUTING = ("execute", "stream", "copy", "raw", "RawSQL", "RunSQL", "extra", "SQL(", "run(")


@pytest.mark.parametrize("text", DYNAMIC.values(), ids=DYNAMIC.keys())
def test_sql_that_is_made_at_run_time_is_reported_where_it_is_executed(text):
    (finding,) = found(text).findings
    assert "made at run time" in finding.message
    written = text.splitlines()[finding.line - 1]
    assert any(call in written for call in EXECUTING)


@pytest.mark.parametrize("text", DYNAMIC.values(), ids=DYNAMIC.keys())
def test_a_comment_with_a_reason_lets_sql_be_made_at_run_time_and_is_counted(text):
    (finding,) = found(text).findings
    lines = text.splitlines()
    lines[finding.line - 1] += "  # dynamic-sql: names of columns only"
    report = found("\n".join(lines))
    assert report.findings == []
    assert [one.reason for one in report.silenced] == ["names of columns only"]


def test_the_comment_for_dynamic_sql_lets_no_status_through_and_the_other_way_round():
    assert len(found("row.status = 'failed'  # dynamic-sql: not at all").findings) == 2
    assert len(found("cursor.execute(query)  # not-a-workspace-status: of a job").findings) == 2
