from importlib import import_module

from django.apps import AppConfig


class WorkspacesConfig(AppConfig):
    name = "workspaces"

    def ready(self) -> None:
        """Register our lookups."""
        import_module("postgres.lookups")
