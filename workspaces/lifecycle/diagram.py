"""Renders docs/lifecycle.md from TRANSITIONS, so that the page is always true."""

from workspaces.lifecycle.transitions import TRANSITIONS, WorkspaceStatus

_HEADER = """# The lifecycle of a workspace

Generated from `TRANSITIONS` in `workspaces/lifecycle/transitions.py` by `manage.py lifecycle_diagram`; change it there.

Each transition raises the workspace's `version` by one and writes its event in the same database transaction. A
transition that isn't listed here is refused, whoever asks for it.
"""


def lifecycle_page() -> str:
    """Return the whole page as Markdown: the diagram, then the table."""
    # `removed` is reached from everywhere; all those arrows would hide the others.
    diagram = ["stateDiagram-v2", "    removed --> [*]"]
    table = ["| verb | from | to | event | guard |", "|---|---|---|---|---|"]
    for rule in TRANSITIONS:
        target, sources = rule.target.value, [status.value for status in WorkspaceStatus if status in rule.sources]
        if rule.target == WorkspaceStatus.REMOVED:
            sources = ["any but removed"]
        else:
            diagram += [f"    {source} --> {target}: {rule.verb}" for source in sources or ["[*]"]]
        table.append(f"| {rule.verb} | {', '.join(sources) or '–'} | {target} | {rule.event.value} | {rule.guard} |")
    return "\n".join([_HEADER, "```mermaid", *diagram, "```", "", *table, ""])
