from importlib import import_module

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"

    def ready(self) -> None:
        """Register the system checks. They import models, so this waits until all apps are loaded."""
        import_module("monitoring.checks")
