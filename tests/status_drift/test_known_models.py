"""Beside a field whose model the file tells, any string is found."""

from dataclasses import replace

import pytest

from status_drift.enum_terms import enum_term
from status_drift.gate import scan_source
from status_drift.sources import parse
from tests.status_drift.scanning import found
from workspaces.models.workspaces import Workspace

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
    "keywords from a joined dict": 'Workspace.objects.filter(**given | {{"status": "{}"}})',
    "a pair": 'Workspace.objects.filter(("status", "{}"))',
    "an item of values": 'Workspace.objects.values("status")[0]["status"] == "{}"',
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


@pytest.mark.parametrize("value", ["failed", "faild", "broken"])
@pytest.mark.parametrize("text", KNOWN_MODEL.values(), ids=KNOWN_MODEL.keys())
def test_any_string_beside_the_field_of_a_known_model_is_found(text, value):
    (finding,) = found(text.format(value)).findings
    assert repr(value) in finding.message


def test_a_field_of_that_name_with_another_type_is_left_alone():
    field = Workspace._meta.get_field("status")
    term = enum_term("workspace_status", [field])
    term = replace(term, field_names=frozenset({"state"}), fields=frozenset())
    text = 'Delivery.objects.filter(state="failed")\ndelivery.state = "faild"\n'
    sql = "cursor.execute(\"UPDATE events_delivery SET state = 'failed' WHERE state = 'faild'\")\n"
    assert scan_source(parse(text + sql, path="events/planted.py"), terms=[term], events={}).findings == []
    (finding,) = scan_source(parse('job.state = "failed"', path="x.py"), terms=[term], events={}).findings
    assert finding.fix == "Use WorkspaceStatus.FAILED."
