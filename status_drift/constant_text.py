"""The text of an expression that is constant: `"fai" "led"`, `"fai" + "led"`, `b"failed"`, `f"failed"`."""

import ast


def constant_text(node: ast.AST) -> str | None:
    """Return the constant text of the expression, or None if it has none."""
    if isinstance(node, ast.Constant):
        value = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
        return value if isinstance(value, str) else None
    if isinstance(node, ast.JoinedStr):
        return _joined([constant_text(part) for part in node.values])
    if isinstance(node, ast.FormattedValue):
        return constant_text(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _joined([constant_text(node.left), constant_text(node.right)])
    return None


def _joined(parts: list[str | None]) -> str | None:
    known = [part for part in parts if part is not None]
    return "".join(known) if len(known) == len(parts) else None
