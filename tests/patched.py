"""Slipway's processes with other constants, for times that a test makes longer or shorter and nobody sets.

`changes()` gives the environment variable for them. With it, `tests.patched:asgi` and `tests.patched:wsgi` are the web
server's applications, and `python -m tests.patched` is manage.py.
"""

import importlib
import json
import os
import runpy
from pathlib import Path
from unittest.mock import patch

from django.core.management.base import BaseCommand

VARIABLE = "SLIPWAY_TEST_CONSTANTS"


def changes(constants):
    """Return the variable that changes these constants: {"monitoring.readiness._TIMEOUT_SECONDS": 60}."""
    return {VARIABLE: json.dumps(constants)}


def change():
    """Change the constants that the variable names. Their modules may need Django's apps."""
    for dotted, value in json.loads(os.environ.get(VARIABLE, "{}")).items():
        module, _, name = dotted.rpartition(".")
        found = importlib.import_module(module)
        assert hasattr(found, name), dotted
        setattr(found, name, value)


def __getattr__(name):
    """Return the application of an interface."""
    if name not in {"asgi", "wsgi"}:
        raise AttributeError(name)
    application = importlib.import_module(f"config.{name}").application
    change()
    return application


def manage():
    """Run manage.py, with the changes once its command has Django's apps."""
    execute = BaseCommand.execute

    def change_and_execute(self, *arguments, **options):
        change()
        return execute(self, *arguments, **options)

    with patch.object(BaseCommand, "execute", change_and_execute):
        runpy.run_path(str(Path(__file__).parents[1] / "manage.py"), run_name="__main__")


if __name__ == "__main__":
    manage()
