"""Fixtures for all tests."""

import os
import signal
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit

import hypothesis
import pytest
import redis
from django.conf import settings
from django.db import DatabaseError, connection

from events import ephemeral
from events.models import Event
from tests.events.payload_schemas import misfits
from workspaces.workers import QUEUES

# Whoever started the tests in the background may have them ignore Ctrl-C, and the programs that they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The time that an example takes depends on how busy the machine is.
hypothesis.settings.register_profile("slipway", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("slipway")


@pytest.fixture
def child_environment(transactional_db):
    """Return the environment for a child process (worker, web, agent): the test's own database and Redis keys."""
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
def empty_queues():
    """Delete the messages that earlier tests sent, since no worker took them."""
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(*(f"{settings.REDIS_PREFIX}{queue}" for queue in QUEUES))


# These tests record events with invented payloads.
_INVENTED_PAYLOADS = (
    "tests/events/",
    "tests/workspaces/lifecycle/test_transitions.py",
    "tests/workspaces/commands/test_verify_log.py",
)


@pytest.fixture(autouse=True)
def check_payloads(request, monkeypatch):
    """Check every event that a test recorded or published against the catalogue."""
    has_events = request.node.get_closest_marker("django_db") and not request.node.nodeid.startswith(_INVENTED_PAYLOADS)
    found = []
    if has_events:
        # Depend on the database fixture, so that this runs before the database is emptied.
        request.getfixturevalue("_django_db_marker")
        publish = ephemeral.publish

        def publish_and_keep(*events):
            found.extend((event.event_type, {**event.payload, "version": event.version}) for event in events)
            publish(*events)

        monkeypatch.setattr(ephemeral, "publish", publish_and_keep)
    yield
    if has_events and not connection.needs_rollback:
        # A test of an outage may leave no usable connection.
        with suppress(DatabaseError):
            found += Event.objects.values_list("event_type", "payload")
    assert [misfit for event_type, payload in found for misfit in misfits(event_type, payload)] == []
