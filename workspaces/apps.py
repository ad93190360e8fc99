from importlib import import_module
from importlib.util import find_spec

from django.apps import AppConfig

# The drift gate's parser: under GPL, so a requirement of development only.
PARSER = "pglast"


class WorkspacesConfig(AppConfig):
    name = "workspaces"

    def ready(self) -> None:
        """Register our lookups, and the drift gate's check where its parser is installed."""
        import_module("workspaces.lookups")
        if find_spec(PARSER):
            import_module("workspaces.drift.checks")
