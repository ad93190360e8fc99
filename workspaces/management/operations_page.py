"""docs/reference/operations.md, written from the table of operations."""

from workspaces.operations import OPERATIONS, Operation

_INTRODUCTION = """# Operations

Written by `manage.py operations_page` from `OPERATIONS` in `workspaces/operations.py`. To change or add an operation,
see [add-a-verb](../how-to/add-a-verb.md).

In the admin an operation is a button on a workspace's page and an action on the list. A command takes the IDs or unique
names of several workspaces. It exits with 0 if all was done, 1 if some workspaces were refused and the others are done,
and 2 if nothing was changed. The API answers `409` and the reason if a workspace's status doesn't allow the operation.
"""


def operations_page() -> str:
    """Return the page as Markdown."""
    return "\n".join([_INTRODUCTION, *(operation_section(operation) for operation in OPERATIONS)])


def operation_section(operation: Operation) -> str:
    """Return one operation's part of the page: its help, and each way to it."""
    statuses = ", ".join(f"`{status}`" for status in sorted(operation.sources))
    admin = f"“{operation.label}”, permission `workspaces.{operation.permission}_workspace`"
    facts = [
        f"Possible from: {statuses}",
        f"Admin: {admin}{'; asks before it acts on a selection' if operation.asks_first else ''}",
    ]
    if operation.is_admin_only:
        facts.append("Command and API: none of its own")
    else:
        flags = "".join(f" [{option.flag}]" for option in operation.options)
        facts.append(f"Command: `manage.py {operation.name}{flags} WORKSPACE …`")
        facts.append(f"API: `{operation.method} /workspaces{operation.api_path}`, scope `operate`")
    facts += [f"`{option.flag}`, `?{option.name}=true`: {option.help}" for option in operation.options]
    return f"## {operation.label}\n\n{operation.help}\n\n" + "".join(f"- {fact}\n" for fact in facts)
