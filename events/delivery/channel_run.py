"""The delivery of one channel's events, from the claim to the marks."""

import math
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from django.conf import settings

from events.channels.base import SendFailed
from events.channels.registry import UnknownKind, kind_of
from events.delivery.channel_operations import disable, open_sender
from events.delivery.claim_sender import ClaimSender
from events.delivery.claims import Claim, claim, release
from events.delivery.grouping import group, without_quiet
from events.delivery.masking_sender import MaskingSender
from events.delivery.outcomes import despite_outage, finish, store_marks
from events.models import Channel

# A channel's changed options and timeout take effect after this time at the latest.
_CHANNEL_SECONDS = 1.0


class ChannelRun:
    """Delivers what is due on one channel, claim after claim, over one connection to its receiver.

    `delivered` counts the deliveries made. Delivery is at least once: a process that is killed between sending and
    marking leaves a lease, and when it ends the message is sent again under the same ID.
    """

    def __init__(self, channel_id: int, *, is_stopped: Callable[[], bool]) -> None:
        self.delivered = 0
        self._channel_id = channel_id
        self._is_stopped = is_stopped
        self._channel: Channel | None = None
        self._channel_read_at = -math.inf
        self._sender: MaskingSender | None = None
        self._sender_options: object = None

    def run(self) -> None:
        """Return when nothing is due, or soon after `is_stopped()` returns true."""
        try:
            while not self._is_stopped():
                # Read the channel only now and then: each claim asks the database whether it may be sent to.
                if time.monotonic() - self._channel_read_at > _CHANNEL_SECONDS:
                    self._channel = Channel.objects.filter(pk=self._channel_id).first()
                    self._channel_read_at = time.monotonic()
                lease = timedelta(seconds=settings.DELIVERY_LEASE_SECONDS)
                claimed = claim(self._channel, lease=lease) if self._channel else None
                if claimed is None:
                    return
                self._deliver(claimed)
        finally:
            self._close_sender()

    def _deliver(self, claimed: Claim) -> None:
        """Hold what has to wait, send the rest, and store the outcomes."""
        try:
            kind = kind_of(claimed.channel.kind)
        except UnknownKind as error:
            release(claimed, claimed.deliveries)
            disable(claimed.channel, reason=str(error))
            return
        if kind.is_grouped:
            claimed = without_quiet(claimed)
            groups, held = group(claimed, window=timedelta(seconds=settings.DELIVERY_FLOOD_SECONDS))
            for until, deliveries in held.items():
                release(claimed, deliveries, next_attempt_at=until)
        else:
            groups = [[delivery] for delivery in claimed.deliveries]
        sending = ClaimSender(
            claimed, kind=kind, sender=self._open_sender(claimed.channel), is_stopped=self._is_stopped
        )
        for marks in sending.send(groups):
            self.delivered += sum(each.is_delivered for each in marks)
            despite_outage(partial(store_marks, claimed, marks))
        despite_outage(partial(finish, claimed, unsent=sending.unsent, stopped_by=sending.stopped_by))

    def _open_sender(self, channel: Channel) -> MaskingSender | SendFailed:
        """Return the open sender, or a new one if the channel's options have changed, or why it can't be opened."""
        options = (channel.kind, channel.options, channel.sealed_options, channel.timeout_seconds)
        if self._sender is None or self._sender_options != options:
            self._close_sender()
            try:
                self._sender = open_sender(channel)
            except SendFailed as error:
                return error
            self._sender_options = options
        return self._sender

    def _close_sender(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()
