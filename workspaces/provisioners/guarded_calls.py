"""Calls to backends that may raise anything, or never return: each has a guard, a time limit and its own thread.

A call that overruns its limit keeps its thread. While it hangs, it is not made again for the same object, and only so
many may hang for one kind of backend and one kind of call, so that the calls for all others go on.
"""

import hashlib
import logging
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from workspaces.provisioners.base import BackendState, LaunchKey, Observation, Provisioner, ProvisionerError
from workspaces.provisioners.registry import get_provisioner

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 5.0
# An agent that registers waits for it.
LOG_SIZE_SECONDS = 0.25
LIST_SECONDS = 30.0
DELETE_SECONDS = 60.0
# What a stop may need after its own timeout: to kill, to confirm that and to look again.
AFTER_STOP_SECONDS = 12.0
MOST_HANGING = 32
MOST_LOG_BYTES = 2**60
_MOST_REMEMBERED = 10_000

NOT_LOOKED_AT = "It could not be looked at: "


class CallHangs(ProvisionerError):
    """A call took longer than its limit, or is still the one that did."""


@dataclass
class LoggedErrors:
    """The reference of the error that was logged last about each thing, so that one which repeats is logged once."""

    references: dict[Hashable, str] = field(default_factory=dict)

    def is_new(self, key: Hashable, reference: str) -> bool:
        """Return whether this error about the thing is another one than the last, and remember it."""
        if self.references.get(key) == reference:
            return False
        if len(self.references) >= _MOST_REMEMBERED:
            self.references.clear()
        self.references[key] = reference
        return True

    def forget(self, key: Hashable) -> None:
        """Log the next error about the thing, whichever it is."""
        self.references.pop(key, None)


@dataclass
class Calls:
    """The calls of one kind, to one kind of backend, that run in this process, by what they are about."""

    running: dict[Hashable, tuple[Future[Any], float]] = field(default_factory=dict)
    logged: LoggedErrors = field(default_factory=LoggedErrors)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, key: Hashable, act: Callable[[], T], *, seconds: float) -> T:
        """Return what `act` returns, or raise what it raises. Wait for the call that already runs for this key, if any.

        Raises CallHangs after the limit, at once if the running call has passed its own.
        """
        with self.lock:
            if key not in self.running:
                self.begin(key, act, seconds=seconds)
            future, ends_at = self.running[key]
        try:
            error = future.exception(timeout=max(ends_at - time.monotonic(), 0))
        except TimeoutError:
            raise CallHangs("its backend did not answer in time and still works on it.") from None
        if error is not None:
            raise error
        return future.result()

    def begin(self, key: Hashable, act: Callable[[], Any], *, seconds: float) -> None:
        """Start a call in its own thread, under the lock. Raises CallHangs if too many others hang."""
        hanging = self.hanging()
        if hanging >= MOST_HANGING:
            raise CallHangs(f"its backend does not answer: {hanging} earlier calls hang.")
        future: Future[Any] = Future()

        def work() -> None:
            result, error = None, None
            try:
                result = act()
            except BaseException as raised:  # noqa: BLE001 (raised again in the caller's thread)
                error = raised
            with self.lock:
                del self.running[key]
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        # A thread that hangs must not keep the process from ending.
        threading.Thread(target=work, name=f"backend {key}", daemon=True).start()
        self.running[key] = (future, time.monotonic() + seconds)

    def hanging(self) -> int:
        """Return how many calls have passed their limit."""
        now = time.monotonic()
        return sum(ends_at <= now for _, ends_at in list(self.running.values()))


_calls: dict[tuple[str, str], Calls] = {}


def calls_of(kind: str, name: str) -> Calls:
    """Return the calls of this name to this kind of backend."""
    return _calls.setdefault((kind, name), Calls())


def reference_of(error: BaseException, *about: object) -> str:
    """Return the reference of an error in the log: the same one as long as the same thing goes wrong."""
    said = traceback.format_exception_only(error)
    return hashlib.blake2b(repr((said, *map(str, about))).encode(), digest_size=4).hexdigest()


def describe(error: BaseException, reference: str) -> str:
    """Return what an operator reads of an unexpected error, whose own text may hold anything."""
    return f"{type(error).__name__}, reference {reference} in the log"


def call(kind: str, name: str, key: Hashable, act: Callable[[Provisioner], T], *, seconds: float) -> T:
    """Call a backend about `key` within a limit. Raises ProvisionerError, whatever went wrong.

    `name` says what kind of call it is. What a backend should not raise is logged with a reference that the error
    names.
    """
    calls = calls_of(kind, name)
    try:
        result = calls.run(key, lambda: act(get_provisioner(kind)), seconds=seconds)
    except ProvisionerError:
        raise
    except (Exception, SystemExit) as error:
        reference = reference_of(error, kind, name, key)
        if calls.logged.is_new(key, reference):
            logger.exception("A backend failed", extra={"call": name, "about": str(key), "reference": reference})
        raise ProvisionerError(f"its backend failed ({describe(error, reference)}).") from error
    calls.logged.forget(key)
    return result


def look(kind: str, key: LaunchKey, *, with_log: bool = True) -> Observation:
    """Inspect a launch, with the log of a running one or without. Never raises.

    What can't be looked at, or not in time, is UNKNOWN, with the reason. Launches are looked at one after another, so
    each look that hangs shortens the limit of the others: all that may hang take about four times LOOK_SECONDS.
    """
    hanging = calls_of(kind, "inspect").hanging()
    try:
        return call(
            kind,
            "inspect",
            (key, with_log),
            lambda backend: backend.inspect(key, with_log=with_log),
            seconds=LOOK_SECONDS / (1 + hanging),
        )
    except ProvisionerError as error:
        return Observation(state=BackendState.UNKNOWN, detail=f"{NOT_LOOKED_AT}{error}")


def log_size(kind: str, key: LaunchKey) -> int | None:
    """Return how many bytes a launch has written to its log; None if there is none or it can't be told at once."""
    try:
        size = call(kind, "log_size", key, lambda backend: backend.log_size(key), seconds=LOG_SIZE_SECONDS)
    except ProvisionerError:
        return None
    # Agents may write to the files that say it.
    return size if size is not None and 0 <= size <= MOST_LOG_BYTES else None


def stop(kind: str, key: LaunchKey, *, timeout_seconds: float) -> Observation:
    """Stop a launch, which is killed after the timeout. Return what is seen of it then. Raises ProvisionerError."""
    return call(
        kind,
        "stop",
        key,
        lambda backend: backend.stop(key, timeout_seconds=timeout_seconds),
        seconds=timeout_seconds + AFTER_STOP_SECONDS,
    )
