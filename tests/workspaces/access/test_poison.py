"""No secret is stored in clear or leaves the process, whatever fails; and each mask is needed for that."""

import json
from types import SimpleNamespace

import pytest
import redis

from events.models import Event
from tests.events.channels.conftest import loopback_allowed, receiver
from tests.events.channels.mail_server import mail_server
from tests.events.conftest import serve, server
from tests.workspaces.access.poison import (
    STREAM,
    World,
    agents_report,
    backends_fail,
    boots_fail,
    calls_are_refused,
    spread,
)
from workspaces.access import secrets

__all__ = ["loopback_allowed", "receiver", "serve", "server"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(fake, receiver, settings):
    with mail_server() as mails:
        settings.EMAIL_URL = f"smtp://127.0.0.1:{mails.port}"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mails.port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        yield World(fake, receiver, mails)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(STREAM)


def test_no_value_is_stored_in_clear_or_leaves_the_process(world, monkeypatch, server):
    spread(world, monkeypatch)
    with server.stream(params={"after": "0"}) as stream:
        for _ in range(Event.objects.exclude(position=None).count()):
            world.tell("live stream", json.dumps(stream.message()))
    assert world.leaks() == []


class Unmasked:
    """A masker that masks nothing."""

    def __init__(self, *arguments, **keywords):
        pass

    def mask(self, text):
        return text

    def mask_strings(self, value):
        return value

    mask_all = mask_log_tail = mask_log_lines = mask

    def mask_start(self, text, *, most_characters):
        return text[:most_characters]


def nothing(*arguments, **keywords):
    return iter(())


CLEAR = SimpleNamespace(encrypt=lambda text: text, decrypt=lambda text: text)
WITHOUT_SETS = f"""
{secrets._VALUES} AS value
WHERE NOT EXISTS (SELECT FROM workspaces_secret WHERE ciphertext = value.ciphertext AND secret_set_id IS NOT NULL)
"""
# Each mask, what stands in its place, and a path that it masks. `liveness` masks once more what `heartbeat` has masked.
MASKS = [
    ("workspaces.services.launching.progress.masker_of", Unmasked, agents_report),
    ("registry.heartbeat.masker_for_token", Unmasked, agents_report),
    ("registry.services.masker_of", Unmasked, agents_report),
    ("registry.services.WorkspaceMasker", Unmasked, agents_report),
    ("workspaces.access.agent_urls.WorkspaceMasker", Unmasked, calls_are_refused),
    ("workspaces.services.launching.fail.masker_of", Unmasked, boots_fail),
    ("workspaces.services.watching.last_look.masker_of", Unmasked, boots_fail),
    ("workspaces.api.logs.masker_of", Unmasked, boots_fail),
    ("workspaces.api.diagnosis.logs.masker_of", Unmasked, boots_fail),
    ("workspaces.services.watching.evidence.masker_of", Unmasked, backends_fail),
    ("workspaces.services.watching.crash_recovery.masker_of", Unmasked, backends_fail),
    ("workspaces.services.stopping.teardown.masker_of", Unmasked, backends_fail),
    ("config.log_format.FieldsFormatter.mask", None, boots_fail),
    ("workspaces.access.log_masking.Masker", Unmasked, backends_fail),
    ("workspaces.api.idempotency.encryption", CLEAR, calls_are_refused),
    # The spellings, and the values of which they are made.
    ("events.masking.secret_forms.base64_forms", nothing, agents_report),
    ("events.masking.secret_forms._less_secret", nothing, agents_report),
    ("events.masking.masker.readings_of", lambda plain: [plain], agents_report),
    ("workspaces.access.secrets.retire", nothing, agents_report),
    ("workspaces.access.secrets._VALUES", WITHOUT_SETS, agents_report),
]


@pytest.mark.parametrize(("mask", "instead", "path"), MASKS, ids=[mask for mask, _, _ in MASKS])
def test_without_any_one_mask_a_value_is_found(world, monkeypatch, mask, instead, path):
    monkeypatch.setattr(mask, instead)
    spread(world, monkeypatch, [path])
    assert world.leaks()
