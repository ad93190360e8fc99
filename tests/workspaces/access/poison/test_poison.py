"""No secret is stored in clear or leaves the process, whatever fails; and each mask is needed for that."""

import math
from types import SimpleNamespace
from uuid import uuid4

import pytest
import redis

from tests.events.channels.conftest import loopback_allowed, receiver
from tests.events.channels.mail_server import mail_server
from tests.events.conftest import online as event
from tests.events.conftest import publish, serve, server
from tests.workspaces.access.poison.agents import agents_report
from tests.workspaces.access.poison.backends import backends_fail, boots_fail, the_log_can_not_read
from tests.workspaces.access.poison.deliveries import receivers_repeat
from tests.workspaces.access.poison.followed_logs import WAYS, logs_are_followed
from tests.workspaces.access.poison.listening import hearing
from tests.workspaces.access.poison.markers import POISON
from tests.workspaces.access.poison.mask_uses import take_away, uses
from tests.workspaces.access.poison.operators import calls_are_refused
from tests.workspaces.access.poison.spread import spread
from tests.workspaces.access.poison.world import STREAM, World
from workspaces.access import log_masking, secrets

__all__ = ["loopback_allowed", "receiver", "serve", "server"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(fake, receiver, settings, monkeypatch):
    # An earlier test may have lost the database.
    monkeypatch.setattr(log_masking, "_paused_until", -math.inf)
    monkeypatch.setattr(log_masking.own, "paused_until", -math.inf, raising=False)
    with mail_server() as mails:
        settings.EMAIL_URL = f"smtp://127.0.0.1:{mails.port}"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mails.port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        yield World(fake, receiver, mails)
    with redis.Redis.from_url(settings.REDIS_URL) as client:
        client.delete(STREAM)


def test_no_value_is_stored_in_clear_or_leaves_the_process(world, monkeypatch, server):
    with hearing(world, server):
        spread(world, monkeypatch)
    assert world.leaks() == []
    # Which only a client hears that listens meanwhile.
    assert any("WORKSPACE_HEARTBEAT" in text for where, text in world.told if where == "WebSocket")


def test_a_value_that_an_event_holds_is_found_on_the_live_streams(world, server):
    with hearing(world, server):
        publish(event(payload={"url": POISON}))
    assert {"live stream", "WebSocket"} <= {where for where, _ in world.leaks()}


def test_a_value_in_a_file_is_found_unless_its_workspace_may_have_it(world, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    own, launch = uuid4(), uuid4()
    records = tmp_path / "workspaces" / ".records" / str(own) / str(launch)
    found = [
        records / "process.json",
        tmp_path / "workspaces" / str(own) / "launches" / str(launch) / "config" / "config.yaml",
    ]
    found += [tmp_path / "postgres" / "postgres.log", tmp_path / "new.txt"]
    for path in (*found, records / "agent.log.1", tmp_path / "workspaces" / str(own) / "work" / "a" / "b.txt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(POISON)
    assert {where for where, _ in world.leaks()} == {f"file {path.relative_to(tmp_path)}" for path in found}


def test_without_its_mask_each_part_of_a_followed_log_holds_a_value(world, monkeypatch):
    (use,) = [each for each in uses() if each.module == "workspaces.api.diagnosis.logs"]
    take_away(monkeypatch, use)
    spread(world, monkeypatch, [logs_are_followed])
    assert set(WAYS) <= {where for where, _ in world.leaks()}


def nothing(*arguments, **keywords):
    return iter(())


CLEAR = SimpleNamespace(encrypt=lambda text: text, decrypt=lambda text: text)
WITHOUT_SETS = f"""
{secrets._VALUES} AS value
WHERE NOT EXISTS (SELECT FROM workspaces_secret WHERE ciphertext = value.ciphertext AND secret_set_id IS NOT NULL)
"""
# A path on which each use of a mask is needed.
USES = {
    "config.log_format:FieldsFormatter.masked_line mask": boots_fail,
    "config.log_format:FieldsFormatter.without_texts mask": the_log_can_not_read,
    "events.delivery.masking_sender:MaskingSender._kept mask_all": receivers_repeat,
    "events.delivery.masking_sender:MaskingSender._masking mask": receivers_repeat,
    "events.outbox:_to_json mask_tokens": receivers_repeat,
    "events.outbox:_to_json mask_tokens#2": receivers_repeat,
    "registry.heartbeat:columns_of mask_strings": agents_report,
    "registry.services:register mask_strings": agents_report,
    "registry.services:update_card mask_strings": agents_report,
    "workspaces.access.agent_urls:check_without_secrets mask": calls_are_refused,
    "workspaces.access.log_masking:mask_line mask": backends_fail,
    "workspaces.api.diagnosis.logs:read_part mask_log_lines": logs_are_followed,
    "workspaces.api.logs:console_of mask_log_tail": boots_fail,
    "workspaces.configuration.diagnostics:masks_of mask_all": boots_fail,
    "workspaces.services.launching.fail:masked_reason mask_all": agents_report,
    "workspaces.services.launching.fail:masked_reason mask_start": agents_report,
    "workspaces.services.launching.fail:masked_reason mask_log_tail": agents_report,
    "workspaces.services.launching.progress:record_progress mask_start": agents_report,
    "workspaces.services.launching.progress:record_progress mask_start#2": agents_report,
    "workspaces.services.stopping.teardown:tear_down mask_start": backends_fail,
    "workspaces.services.watching.crash_recovery:mark_dead_offline mask_log_tail": backends_fail,
    "workspaces.services.watching.evidence:store_evidence mask_start": backends_fail,
    "workspaces.services.watching.last_look:_store_last_look mask": boots_fail,
    "workspaces.services.watching.last_look:_store_last_look mask_log_tail": boots_fail,
}


def test_each_use_of_a_mask_is_named_with_the_path_that_needs_it():
    assert sorted(map(str, uses())) == sorted(USES)


@pytest.mark.parametrize("use", uses(), ids=str)
def test_without_any_one_use_of_a_mask_a_value_is_found(world, monkeypatch, use):
    take_away(monkeypatch, use)
    spread(world, monkeypatch, [USES[str(use)]])
    assert world.leaks()


# What makes the masks whole, what stands in its place, and a path on which that is found.
PARTS = [
    ("workspaces.api.idempotency.encryption", CLEAR, calls_are_refused),
    # The spellings, and the values of which they are made.
    ("events.masking.secret_forms.base64_forms", nothing, agents_report),
    ("events.masking.secret_forms._less_secret", nothing, agents_report),
    ("events.masking.masker.readings_of", lambda plain: [plain], agents_report),
    ("events.delivery.masking_sender.secrets_in", nothing, receivers_repeat),
    ("events.delivery.masking_sender.configured_secrets", nothing, receivers_repeat),
    ("workspaces.access.secrets.retire", nothing, agents_report),
    ("workspaces.access.secrets.values_only_in_logs", nothing, backends_fail),
    ("workspaces.access.secrets._VALUES", WITHOUT_SETS, agents_report),
]


@pytest.mark.parametrize(("part", "instead", "path"), PARTS, ids=[part for part, _, _ in PARTS])
def test_without_any_one_part_of_the_masks_a_value_is_found(world, monkeypatch, part, instead, path):
    monkeypatch.setattr(part, instead)
    spread(world, monkeypatch, [path])
    assert world.leaks()
