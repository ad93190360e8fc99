"""Fixtures that every part uses."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings
from django.db import connection

from events.models import Event
from tests.schemas import misfits


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


@pytest.fixture(autouse=True)
def catalogued(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold every event that the real verbs left behind against the catalogue, whatever the test was about."""
    # The events' own tests make up payloads.
    is_told = request.node.get_closest_marker("django_db") and "tests/events/" not in request.node.nodeid
    if is_told:
        # Asked for, so that this ends before the database is emptied.
        request.getfixturevalue("_django_db_marker")
    yield
    if is_told and not connection.needs_rollback:
        told = Event.objects.values_list("event_type", "payload")
        assert [misfit for event_type, payload in told for misfit in misfits(event_type, payload)] == []
