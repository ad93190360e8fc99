"""Prints docs/lifecycle.md from the transition table, so that the page can't say anything else."""

from workspaces.lifecycle.transitions import TRANSITIONS, Transition, WorkspaceStatus

_HEADER = """# The lifecycle of a workspace

Printed from `TRANSITIONS` in `workspaces/lifecycle/transitions.py` by `manage.py lifecycle_diagram`; change it there.

Each move raises the workspace's `version` by one and writes its event in the same transaction. A move whose
source isn't listed here is refused, whoever asks for it.
"""


def lifecycle_page() -> str:
    """Return the whole page as Markdown: the diagram, then the table."""
    return "\n".join([_HEADER, "```mermaid", *_diagram(), "```", "", *_table(), ""])


def _diagram() -> list[str]:
    lines = ["stateDiagram-v2"]
    for row in TRANSITIONS:
        if not row.sources:
            lines.append(f"    [*] --> {row.target.value}: {row.verb}")
    # "remove" leads here from everywhere; ten arrows would hide the others.
    lines.append("    removed --> [*]")
    for row in TRANSITIONS:
        if row.target != WorkspaceStatus.REMOVED:
            lines += [f"    {source} --> {row.target.value}: {row.verb}" for source in _in_order(row)]
    return lines


def _table() -> list[str]:
    head = ["| verb | from | to | event | guard |", "|---|---|---|---|---|"]
    return head + [_line(row) for row in TRANSITIONS]


def _line(row: Transition) -> str:
    sources = "any but removed" if row.target == WorkspaceStatus.REMOVED else ", ".join(_in_order(row)) or "–"
    return f"| {row.verb} | {sources} | {row.target.value} | {row.event.value} | {row.guard} |"


def _in_order(row: Transition) -> list[str]:
    return [status.value for status in WorkspaceStatus if status in row.sources]
