"""Comments that silence a line of the gate."""

import pytest

from tests.status_drift.scanning import found


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
    assert messages == ["The status 'failed' is written out.", "This comment gives no reason."]


def test_a_comment_that_silences_nothing_is_reported():
    (finding,) = found("a = 1  # not-a-workspace-status: of a job").findings
    assert finding.message == "This comment silences nothing."


def test_a_string_that_looks_like_the_comment_silences_nothing():
    assert len(found("a.status = 'failed'; x = '# not-a-workspace-status: of a job'").findings) == 1


def test_a_comment_without_a_reason_in_an_sql_file_is_reported_in_its_own_syntax():
    (finding,) = found("SELECT 1; -- not-a-workspace-status:", path="workspaces/sql/x.sql").findings
    assert finding.fix == "Write `-- not-a-workspace-status: reason`, or remove it."
