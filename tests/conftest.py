"""Fixtures that every part uses."""

import os
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import pytest
from django.conf import settings
from django.db import DatabaseError, connection

from events.models import Event
from tests.events.payload_schemas import misfits

# How long an example takes, or the first text that is drawn, says how busy the machine is.
hypothesis.settings.register_profile("slipway", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("slipway")


@pytest.fixture
def child_environment(transactional_db):
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


# The events' own tests, and those that move rows without a verb, make up payloads.
_MAKING_UP = (
    "tests/events/",
    "tests/workspaces/lifecycle/test_transitions.py",
    "tests/workspaces/commands/test_verify_log.py",
)


@pytest.fixture(autouse=True)
def catalogued(request):
    """Hold every event that the real verbs left behind against the catalogue, whatever the test was about."""
    is_told = request.node.get_closest_marker("django_db") and not request.node.nodeid.startswith(_MAKING_UP)
    if is_told:
        # Asked for, so that this ends before the database is emptied.
        request.getfixturevalue("_django_db_marker")
    yield
    if is_told and not connection.needs_rollback:
        # A test of an outage may leave none to ask.
        with suppress(DatabaseError):
            told = Event.objects.values_list("event_type", "payload")
            assert [misfit for event_type, payload in told for misfit in misfits(event_type, payload)] == []
