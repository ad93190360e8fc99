"""Channels, messages and senders for tests, made as the admin's form and the delivery make them."""

from contextlib import closing
from uuid import uuid4

from events.channels.base import Message
from events.channels.registry import kind_of
from events.delivery.channel_operations import all_options, encrypt_options
from events.envelope import LoggedEvent
from events.models import Channel
from events.names import EventType
from postgres.clock import database_now
from tests.waiting import PATIENCE_SECONDS


def channel(kind, options, **fields):
    """Return a stored channel with these options, the encrypted ones encrypted, and the longest timeout."""
    form = kind_of(kind).form
    encrypted = {name: value for name, value in options.items() if name in form.encrypted}
    encrypted |= kind_of(kind).initial_options()
    plain = {name: value for name, value in options.items() if name not in form.encrypted}
    fields = {"name": f"{kind} {Channel.objects.count()}", "timeout_seconds": 30, **fields}
    return Channel.objects.create(kind=kind, options=plain, sealed_options=encrypt_options(encrypted), **fields)


def webhook(url, *, headers=None, **fields):
    """Return a stored webhook to this URL."""
    options = {"url": url, "headers": headers or {}, "is_https_only": False}
    return channel("webhook", options, **fields)


def of_every_kind(receiver):
    """Return a stored channel of each kind, by the kind's name, that its form would store again."""
    options = {
        "webhook": {"url": receiver.url, "headers": {"X-Key": "kept"}, "is_https_only": False},
        "chat": {"url": mattermost(receiver)},
        "email": {"recipients": "a@example.com", "subject_prefix": ""},
        "redis_stream": {"url": "redis://:s3cr3t@127.0.0.1:6379/0", "stream": "events", "max_length": 100},
        "log": {"level": "INFO"},
    }
    return {name: channel(name, each) for name, each in options.items()}


def signing_secret(stored):
    """Return the secret with which a webhook's receiver verifies."""
    return str(all_options(stored)["signing"][0]["secret"])


def mattermost(receiver):
    """Return the Apprise URL of a receiver that plays Mattermost."""
    return f"mmost://127.0.0.1:{receiver.server_address[1]}/3ccdd113474722377935511fc85d3dd4"


def message(position=1, event_type=EventType.WORKSPACE_ONLINE, **payload):
    event = LoggedEvent(
        position=position,
        event_type=event_type,
        workspace_id=uuid4(),
        version=1,
        payload=payload,
        created_at=database_now(),
        subject={"name": "nightly", "runtime": "hermes", "ancestors": []},
    )
    return Message(id=f"{position}00", event=event)


def failure(position=1, **payload):
    payload = {"error": "It broke.", "code": "crashed", **payload}
    return message(position, EventType.WORKSPACE_PROVISION_FAILED, **payload)


def sending(kind, options):
    """Open a sender of this kind for the duration of a block."""
    return closing(kind_of(kind).sender(options, timeout_seconds=PATIENCE_SECONDS))


def form_errors(kind, **data):
    """Return the errors of the kind's form by field, as text."""
    form = kind_of(kind).form(data)
    assert not form.is_valid()
    return {name: " ".join(errors) for name, errors in form.errors.items()}
