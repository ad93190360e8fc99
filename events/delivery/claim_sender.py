"""Sends the messages of one claim: outside any transaction, several workspaces at a time, each workspace in order."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings

from events.channels.base import RESPONSE_BYTES, Kind, Receipt, SendFailed
from events.delivery.claims import Claim, ClaimedDelivery, Mark
from events.delivery.masking_sender import MaskingSender
from events.delivery.schedule import next_attempt_at

# Mark soon, so that a crash repeats few messages, and many at once, so that marking costs little.
_MARK_SECONDS = 0.1
_MARKS_AT_ONCE = 100


class ClaimSender:
    """Sends one claim and yields what to mark. If there is no sender, but a reason why, all attempts fail with it.

    `unsent` has the deliveries that were not attempted: told to stop, half of the lease over, or `stopped_by` set.
    `stopped_by` is the failure with which the receiver asked for a pause or for no more messages.
    """

    def __init__(
        self, claim: Claim, *, kind: Kind, sender: MaskingSender | SendFailed, is_stopped: Callable[[], bool]
    ) -> None:
        self.unsent: list[ClaimedDelivery] = []
        self.stopped_by: SendFailed | None = None
        self._claim = claim
        self._kind = kind
        self._sender = sender
        self._is_stopped = is_stopped
        # The second half of the lease is for the sends that have started: none takes longer (channel_forms.py).
        self._last_start_at = claim.claimed_at + (claim.leased_until - claim.claimed_at) / 2

    def send(self, groups: Sequence[Sequence[ClaimedDelivery]]) -> Iterator[list[Mark]]:
        """Send each group as one message. Yield the marks in batches, as they come."""
        if self._kind.is_sequential:
            sequences = [list(groups)]
        else:
            by_workspace: dict[Any, list[Sequence[ClaimedDelivery]]] = {}
            for group in groups:
                by_workspace.setdefault(group[0].event.workspace_id, []).append(group)
            sequences = list(by_workspace.values())
        marks = MarkBatcher(len(sequences))
        channel = self._claim.channel
        with ThreadPoolExecutor(channel.concurrency, thread_name_prefix=f"send-{channel.pk}") as pool:
            for sequence in sequences:
                pool.submit(self._send_in_order, sequence, marks)
            yield from marks

    def _send_in_order(self, groups: Sequence[Sequence[ClaimedDelivery]], marks: "MarkBatcher") -> None:
        try:
            for group in groups:
                if self.stopped_by or self._is_stopped() or self._claim.now() >= self._last_start_at:
                    self.unsent.extend(group)
                else:
                    marks.add(self._attempt(group))
        finally:
            marks.end()

    def _attempt(self, group: Sequence[ClaimedDelivery]) -> list[Mark]:
        """Send a group as one message. Return a mark for each of its deliveries."""
        result: Receipt | SendFailed
        started = time.monotonic()
        try:
            result = self._sender if isinstance(self._sender, SendFailed) else self._sender.send(group)
        except SendFailed as error:
            result = error
        now = self._claim.now()
        entry = {
            "ok": isinstance(result, Receipt),
            "latency_ms": int((time.monotonic() - started) * 1000),
            "answer": result.answer,
            "response": result.response.encode(errors="replace")[:RESPONSE_BYTES].decode(errors="ignore"),
        }
        if len(group) > 1:
            entry["grouped"] = len(group)
        if isinstance(result, SendFailed):
            return self._failed_marks(group, result, {**entry, "error": str(result)}, now)
        return [Mark(delivery=each, is_delivered=True, at=now, entry=entry) for each in group]

    def _failed_marks(
        self, group: Sequence[ClaimedDelivery], failure: SendFailed, entry: dict[str, Any], now: datetime
    ) -> list[Mark]:
        if failure.is_gone or (failure.retry_after and not self.stopped_by):
            self.stopped_by = failure
        # One random number for the whole group, so that its retry is one message too.
        retry = partial(
            next_attempt_at,
            failure=failure,
            now=now,
            divisor=settings.DELIVERY_RETRY_DIVISOR,
            random=random.random(),  # noqa: S311 (spreads load, guards nothing)
        )
        return [
            Mark(
                delivery=each,
                is_delivered=False,
                at=now,
                next_attempt_at=retry(attempts=each.attempts + 1),
                entry=entry,
            )
            for each in group
        ]


class MarkBatcher:
    """Hands marks from the sending threads to the thread that stores them, in batches: it is not woken for each."""

    def __init__(self, senders: int) -> None:
        self._senders = senders
        self._marks: deque[Mark] = deque()
        self._changed = threading.Condition()

    def add(self, marks: Sequence[Mark]) -> None:
        """Add marks; called by the sending threads."""
        self._marks.extend(marks)
        if len(self._marks) >= _MARKS_AT_ONCE:
            with self._changed:
                self._changed.notify()

    def end(self) -> None:
        """Count one of the senders as finished. The iteration ends after the last one."""
        with self._changed:
            self._senders -= 1
            if not self._senders:
                self._changed.notify()

    def __iter__(self) -> Iterator[list[Mark]]:
        while True:
            with self._changed:
                is_over = self._senders == 0
                if not is_over and len(self._marks) < _MARKS_AT_ONCE:
                    self._changed.wait(_MARK_SECONDS)
            if batch := [self._marks.popleft() for _ in range(min(len(self._marks), _MARKS_AT_ONCE))]:
                yield batch
            elif is_over:
                return
