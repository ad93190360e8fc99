from importlib import import_module
from importlib.util import find_spec

from django.apps import AppConfig

# The gate's parser, which only development requires, because it is under GPL.
PARSER = "pglast"


class StatusDriftConfig(AppConfig):
    name = "status_drift"

    def ready(self) -> None:
        """Register the gate's check if its parser is installed."""
        if find_spec(PARSER):
            import_module("status_drift.checks")
