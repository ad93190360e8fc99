"""One file's findings, for the tests of what the gate finds."""

from status_drift.enum_terms import event_names, native_enums
from status_drift.gate import scan_source
from status_drift.sources import parse


def found(text, *, path="workspaces/planted.py"):
    return scan_source(parse(text, path=path), terms=native_enums(), events=event_names())
