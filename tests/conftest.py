"""Fixtures that every part uses."""

import os
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection


@pytest.fixture
def child_environment(transactional_db: None) -> dict[str, str]:
    """Return the environment of a real child process (worker, web, agent): the test's own database and Redis keys."""
    url = urlsplit(settings.DATABASE_URL)
    names = ("REDIS_URL", "REDIS_PREFIX", "SECRET_KEY", "SECRETS_KEYS", "DATA_DIR", "PATH", "HOME", "LANG")
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    return {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": urlunsplit(url._replace(path=f"/{connection.settings_dict['NAME']}")),
        "PLATFORM_URL": settings.PLATFORM_URL,
        "PYTHONPATH": str(settings.BASE_DIR),
    }
