"""The settings, with the app that breaks the processes."""

from config import settings
from config.settings import *  # noqa: F403 (all of them)

INSTALLED_APPS = [*settings.INSTALLED_APPS, "tests.workspaces.access.poison.broken_app.BrokenApp"]
