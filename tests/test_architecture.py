"""Arrows that import contracts can't express."""

import ast

from django.conf import settings

WRITERS = {"transition", "transition_each"}


def test_nobody_outside_the_services_moves_a_workspace():
    importers = set()
    for app in ("devserver", "config", "monitoring", "registry", "workspaces", "events"):
        for path in (settings.BASE_DIR / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and WRITERS & {alias.name for alias in node.names}:
                    importers.add(path.parent.relative_to(settings.BASE_DIR).as_posix())
    assert importers <= {f"workspaces/services/{layer}" for layer in ("core", "stopping", "launching", "watching")}
    assert importers
