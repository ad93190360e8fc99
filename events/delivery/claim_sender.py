"""Sends one claim's deliveries: outside of any transaction, in order per workspace, several workspaces at a time."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from events.channels.base import RESPONSE_BYTES, Kind, Receipt, Sender, SendFailed
from events.delivery.claims import Claim, Claimed, Mark
from events.delivery.schedule import LONGEST_RETRY_AFTER, pause_after

logger = logging.getLogger(__name__)

# What is sent is marked soon, so that a crash repeats little, and together, so that marking costs little.
_MARK_SECONDS = 0.1
_MARKED_TOGETHER = 100


@dataclass(kw_only=True)
class ClaimSender:
    """One claim being sent: what came of it so far, and why it ended early, if it did."""

    claim: Claim
    kind: Kind
    sender: Sender
    # On the monotonic clock: what has not begun by then is given back.
    ends_at: float
    divisor: int
    clock: Callable[[], datetime]
    is_stopped: Callable[[], bool]
    retry_after: timedelta | None = None
    gone: str = ""
    unsent: list[Claimed] = field(default_factory=list)
    latency_ms: int | None = None
    last_error: str = ""
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, units: Sequence[Sequence[Claimed]]) -> Iterator[list[Mark]]:
        """Send the units; yield marks as they come, some at a time. What is left in `unsent` was never tried."""
        lines = deque(self._lines(units))
        threads = min(self.claim.channel.concurrency, len(lines))
        done = MarkBatcher(threads)
        with ThreadPoolExecutor(threads, thread_name_prefix=f"send-{self.claim.channel.pk}") as pool:
            for _ in range(threads):
                pool.submit(self._work, lines, done)
            yield from done

    def _lines(self, units: Sequence[Sequence[Claimed]]) -> list[list[Sequence[Claimed]]]:
        """Return what must go one after the other: all of it, or each workspace's own."""
        if self.kind.is_sequential:
            return [list(units)]
        by_workspace: dict[Any, list[Sequence[Claimed]]] = {}
        for unit in units:
            by_workspace.setdefault(unit[0].workspace_id, []).append(unit)
        return list(by_workspace.values())

    def _work(self, lines: "deque[list[Sequence[Claimed]]]", done: "MarkBatcher") -> None:
        try:
            while lines:
                try:
                    line = lines.popleft()
                except IndexError:
                    break
                for unit in line:
                    done.add(self._attempt(unit))
        finally:
            done.end()

    def _attempt(self, unit: Sequence[Claimed]) -> list[Mark]:
        if self._over.is_set() or self.is_stopped() or time.monotonic() >= self.ends_at:
            self.unsent.extend(unit)
            return []
        began = time.monotonic()
        try:
            receipt = self.sender.send([delivery.message for delivery in unit])
        except SendFailed as error:
            return self._failed(unit, error, began)
        except Exception as error:
            # A receiver's oddity must not stop the others; the traceback tells us.
            logger.exception("A message could not be sent", extra={"channel": self.claim.channel.name})
            return self._failed(unit, SendFailed(f"Slipway could not send it: {type(error).__name__}."), began)
        return self._delivered(unit, receipt, began)

    def _delivered(self, unit: Sequence[Claimed], receipt: Receipt, began: float) -> list[Mark]:
        entry = self._entry(began, is_ok=True, answer=receipt.answer, response=receipt.response, count=len(unit))
        return [Mark(delivery=each, is_delivered=True, at=self.clock(), entry=entry) for each in unit]

    def _failed(self, unit: Sequence[Claimed], error: SendFailed, began: float) -> list[Mark]:
        self._note(error)
        entry = self._entry(began, is_ok=False, answer=error.answer, response=error.response, count=len(unit))
        entry["error"] = str(error)
        # One chance for all of a unit, so that its retry is one message, too.
        chance, now = random.random(), self.clock()  # noqa: S311 (spreads load, guards nothing)
        marks = []
        for each in unit:
            pause = None if error.is_permanent else self._pause(each, error, chance)
            next_at = now + pause if pause is not None else None
            marks.append(Mark(delivery=each, is_delivered=False, at=now, next_attempt_at=next_at, entry=entry))
        return marks

    def _pause(self, delivery: Claimed, error: SendFailed, chance: float) -> timedelta | None:
        pause = pause_after(delivery.attempts + 1, divisor=self.divisor, random=chance)
        if pause is None or error.retry_after is None:
            return pause
        return max(pause, min(error.retry_after, LONGEST_RETRY_AFTER))

    def _note(self, error: SendFailed) -> None:
        self.last_error = str(error)
        if error.is_gone:
            self.gone = str(error)
            self._over.set()
        if error.retry_after:
            self.retry_after = min(error.retry_after, LONGEST_RETRY_AFTER)
            self._over.set()

    def _entry(self, began: float, *, is_ok: bool, answer: str, response: str, count: int) -> dict[str, Any]:
        latency = int((time.monotonic() - began) * 1000)
        if is_ok:
            self.latency_ms = latency
        text = response.encode(errors="replace")[:RESPONSE_BYTES].decode(errors="ignore")
        entry = {"at": self.clock().isoformat(), "ok": is_ok, "latency_ms": latency, "answer": answer, "response": text}
        return entry if count == 1 else {**entry, "grouped": count}


class MarkBatcher:
    """What the workers did, handed over some at a time: whoever marks it is not woken for each."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._marks: deque[Mark] = deque()
        self._changed = threading.Condition()

    def add(self, marks: Sequence[Mark]) -> None:
        """Put in what a worker did."""
        self._marks.extend(marks)
        if len(self._marks) >= _MARKED_TOGETHER:
            with self._changed:
                self._changed.notify()

    def end(self) -> None:
        """Say that one of the workers has ended."""
        with self._changed:
            self._workers -= 1
            self._changed.notify()

    def __iter__(self) -> Iterator[list[Mark]]:
        while True:
            with self._changed:
                is_over = self._workers == 0
                if not is_over and len(self._marks) < _MARKED_TOGETHER:
                    self._changed.wait(_MARK_SECONDS)
            if together := [self._marks.popleft() for _ in range(min(len(self._marks), _MARKED_TOGETHER))]:
                yield together
            elif is_over:
                return
