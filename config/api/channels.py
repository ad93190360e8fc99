"""Channels in the API: add, change, test, pause, resume, enable, redrive, rotate, remove.

It is here because `events` knows neither sessions nor API keys.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from ninja import Path, Query, Router, Status
from pydantic import StrictBool, StrictInt
from typing_extensions import TypedDict

from events.channel_settings import saving
from events.channels.registry import KINDS
from events.delivery import channel_operations
from events.delivery.channel_health import ChannelState, state_of, with_delivery_counts
from events.models import Channel, Delivery
from events.pages import Paged, in_order, page_of
from events.parameters import Moment
from postgres.clock import database_now
from workspaces.access.authentication import Access
from workspaces.access.errors import RequestRefused
from workspaces.api.idempotency import once
from workspaces.api.router import answering
from workspaces.api.schemas import DoneOut, OperatorIn
from workspaces.models import ApiScope

router = Router(tags=["channels"])

READ = Access(scopes=(ApiScope.READ,), permission="events.view_channel")
ADD = Access(scopes=(ApiScope.ADMIN,), permission="events.add_channel")
CHANGE = Access(scopes=(ApiScope.ADMIN,), permission="events.change_channel")
DELETE = Access(scopes=(ApiScope.ADMIN,), permission="events.delete_channel")
ChannelId = Annotated[int, Path(ge=1, le=2**63 - 1)]


class ChannelsListed(Paged):
    """Which channels to list: all without `limit`; with it the header Link has the address of the next page."""

    sort: Literal["name", "-name", "created_at", "-created_at"] = "name"


class ChannelOut(TypedDict):
    """A channel and its health. `options` are those that may be shown, `encrypted` the names of the others."""

    id: int
    name: str
    kind: str
    options: dict[str, Any]
    encrypted: list[str]
    event_types: list[str]
    failure_codes: list[str]
    runtimes: list[str]
    workspace_id: UUID | None
    with_descendants: bool
    concurrency: int
    timeout_seconds: int
    state: ChannelState
    is_enabled: bool
    disabled_reason: str
    paused_at: datetime | None
    held_until: datetime | None
    created_at: datetime
    last_success_at: datetime | None
    last_latency_ms: int | None
    last_error_at: datetime | None
    last_error: str
    backlog: int
    dead_letters: int


class SavedOut(ChannelOut):
    """A stored channel. `signing_secret` was made for it now and is shown only here; null if none was."""

    signing_secret: str | None


class ChannelIn(OperatorIn):
    """What to set of a channel. What is left out stays, or is as in the admin's form of a new channel.

    `options` are those of the kind: see docs/reference/channels. What is encrypted is never shown again.
    """

    name: str = ""
    options: dict[str, Any] = {}
    event_types: list[str] = []
    failure_codes: list[str] = []
    runtimes: list[str] = []
    workspace_id: UUID | None = None
    with_descendants: StrictBool = True
    concurrency: StrictInt = 4
    timeout_seconds: StrictInt = 10


class NewChannelIn(ChannelIn):
    """A new channel of a kind: webhook, chat, email, redis_stream or log."""

    kind: str
    name: str


class RedriveIn(OperatorIn):
    """Which dead letters to send again: those of events since a time, or all."""

    since: Moment | None = None


class TestOut(TypedDict):
    """How the receiver answered a test message: a summary, and the beginning of what it sent back."""

    is_accepted: bool
    answer: str
    response: str
    latency_ms: int


class RedrivenOut(TypedDict):
    """How many dead letters are sent again."""

    redriven: int


class RotatedOut(TypedDict):
    """The new signing secret; it is shown only here. The old one also signs for a day."""

    signing_secret: str


@router.get("", auth=READ)
def list_channels(request: HttpRequest, response: HttpResponse, wanted: Query[ChannelsListed]) -> list[ChannelOut]:
    """List channels by name."""
    now, rows = database_now(), in_order(with_delivery_counts(Channel.objects.all()), wanted)
    return [channel_json(row, now=now) for row in page_of(rows, wanted, request=request, response=response)]


@router.post("", auth=ADD)
@answering({HTTPStatus.CREATED: SavedOut})
def add_channel(request: HttpRequest, response: HttpResponse, body: NewChannelIn) -> Status[SavedOut]:
    """Add a channel. A webhook's signing secret is in the answer, and only there."""

    @transaction.atomic
    def add() -> Status[SavedOut]:
        values = body.model_dump(mode="json", exclude_unset=True)
        saved = saving.create(values.pop("kind"), values)
        return Status(HTTPStatus.CREATED, saved_json(saved))

    return once(request, response, add)


@router.get("/{channel_id}", auth=READ)
def get_channel(request: HttpRequest, channel_id: ChannelId) -> ChannelOut:
    """Show one channel."""
    return channel_json(find_channel(channel_id), now=database_now())


@router.patch("/{channel_id}", auth=CHANGE)
@transaction.atomic
def change_channel(request: HttpRequest, channel_id: ChannelId, body: ChannelIn) -> SavedOut:
    """Change a channel. For another host, its encrypted options have to be given again, and a new secret signs."""
    find_channel(channel_id)
    return saved_json(saving.change(channel_id, body.model_dump(mode="json", exclude_unset=True)))


@router.delete("/{channel_id}", auth=DELETE)
@transaction.atomic
def remove_channel(request: HttpRequest, channel_id: ChannelId) -> DoneOut:
    """Remove a channel with its deliveries, also those that are not sent yet."""
    find_channel(channel_id).delete()
    return {"status": "deleted"}


@router.post("/{channel_id}/test", auth=CHANGE)
def test_channel(request: HttpRequest, channel_id: ChannelId) -> TestOut:
    """Send a test message now and show the receiver's answer. Queues nothing."""
    receiver = channel_operations.send_test(find_channel(channel_id), now=database_now())
    return {
        "is_accepted": receiver.is_accepted,
        "answer": receiver.answer,
        "response": receiver.response,
        "latency_ms": receiver.latency_ms,
    }


@router.post("/{channel_id}/pause", auth=CHANGE)
@transaction.atomic
def pause_channel(request: HttpRequest, channel_id: ChannelId) -> ChannelOut:
    """Stop sending. Events are still queued."""
    find_channel(channel_id)
    channel_operations.pause(Channel.objects.filter(pk=channel_id), now=database_now())
    return channel_json(find_channel(channel_id), now=database_now())


@router.post("/{channel_id}/resume", auth=CHANGE)
@transaction.atomic
def resume_channel(request: HttpRequest, channel_id: ChannelId) -> ChannelOut:
    """Send what has been queued, in order."""
    find_channel(channel_id)
    channel_operations.resume(Channel.objects.filter(pk=channel_id))
    return channel_json(find_channel(channel_id), now=database_now())


@router.post("/{channel_id}/enable", auth=CHANGE)
@transaction.atomic
def enable_channel(request: HttpRequest, channel_id: ChannelId) -> ChannelOut:
    """Queue events again for a channel that was disabled, and send what was queued before."""
    find_channel(channel_id)
    channel_operations.enable(Channel.objects.filter(pk=channel_id))
    return channel_json(find_channel(channel_id), now=database_now())


@router.post("/{channel_id}/redrive", auth=CHANGE)
def redrive_channel(request: HttpRequest, channel_id: ChannelId, body: RedriveIn | None = None) -> RedrivenOut:
    """Send a channel's dead letters again, all or those of events since a time."""
    deliveries, since = Delivery.objects.filter(channel=find_channel(channel_id)), body.since if body else None
    return {"redriven": channel_operations.redrive(deliveries, since=since, now=database_now())}


@router.post("/{channel_id}/rotate", auth=CHANGE)
def rotate_channel(request: HttpRequest, response: HttpResponse, channel_id: ChannelId) -> Status[RotatedOut]:
    """Sign with a new secret. For a day the old one signs as well."""

    def rotate() -> Status[RotatedOut]:
        secret = channel_operations.rotate_secret(find_channel(channel_id), now=database_now())
        return Status(HTTPStatus.OK, {"signing_secret": secret})

    return once(request, response, rotate)


def find_channel(channel_id: int) -> Channel:
    """Return a channel with its counts. Raises RequestRefused (404)."""
    if channel := with_delivery_counts(Channel.objects.filter(pk=channel_id)).first():
        return channel
    raise RequestRefused(HTTPStatus.NOT_FOUND, f"There is no channel {channel_id}.", code="not_found")


def channel_json(channel: Channel, *, now: datetime) -> ChannelOut:
    """Return the JSON of a channel from `with_delivery_counts`."""
    return {
        "id": channel.pk,
        "name": channel.name,
        "kind": channel.kind,
        "options": channel.options,
        # Another version of Slipway may have kinds that this one lacks.
        "encrypted": list(KINDS[channel.kind].form.encrypted) if channel.kind in KINDS else [],
        "event_types": channel.event_types,
        "failure_codes": channel.failure_codes,
        "runtimes": channel.runtimes,
        "workspace_id": channel.workspace_id,
        "with_descendants": channel.with_descendants,
        "concurrency": channel.concurrency,
        "timeout_seconds": channel.timeout_seconds,
        "state": state_of(channel, now=now),
        "is_enabled": channel.is_enabled,
        "disabled_reason": channel.disabled_reason,
        "paused_at": channel.paused_at,
        "held_until": channel.held_until,
        "created_at": channel.created_at,
        "last_success_at": channel.last_success_at,
        "last_latency_ms": channel.last_latency_ms,
        "last_error_at": channel.last_error_at,
        "last_error": channel.last_error,
        "backlog": channel.backlog,  # type: ignore[attr-defined]
        "dead_letters": channel.dead_letters,  # type: ignore[attr-defined]
    }


def saved_json(saved: saving.SavedChannel) -> SavedOut:
    """Return the JSON of a stored channel."""
    shown = channel_json(find_channel(saved.channel.pk), now=database_now())
    return {**shown, "signing_secret": saved.signing_secret or None}
