from importlib import import_module

from django.apps import AppConfig


class WorkspacesConfig(AppConfig):
    name = "workspaces"

    def ready(self) -> None:
        """Register our lookups and the commands of the operations."""
        # Here, since both need the models.
        import_module("postgres.lookups")
        import_module("workspaces.management.operation_command").register_commands()
