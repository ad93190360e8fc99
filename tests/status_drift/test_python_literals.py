"""Every way to write a status as a string in Python that we could think of is found."""

import pytest

from status_drift.enum_terms import event_names, native_enums
from status_drift.gate import scan_source
from status_drift.sources import parse, resolve_imports
from tests.status_drift.scanning import found

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
            "add the comment `# not-a-workspace-status: reason`.",
        ),
    ],
)
def test_a_finding_about_an_unknown_value_says_which_one_was_meant(text, message):
    (finding,) = found(text).findings
    assert str(finding).startswith(f"workspaces/planted.py:1: {message}")


@pytest.mark.parametrize(
    "path", ["workspaces/migrations/0009_x.py", "workspaces/lifecycle/transitions.py", "events/names.py"]
)
def test_migrations_and_the_enums_themselves_may_write_values_out(path):
    assert found('status = "failed"\nx = "WORKSPACE_ONLINE"', path=path).findings == []
