"""Slows down whoever guesses credentials, so that guessing never takes the time of those who have one.

Failures are counted by address, and those with an API key by the key's public prefix too: one key may be guessed from
many addresses. Only unknown bearer tokens and sign-ins are slowed down. A token that was accepted before passes, so a
fleet behind the same address goes on. The prefix slows down only addresses with failures, so that the owner of a key
gets in while others guess it. Each process counts for itself.
"""

import hashlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from config.entry.bodies import LEFT_UNREAD, SIGN_IN_PATH
from config.entry.proxies import parsed
from events.masking.credentials import KEY_PREFIX
from workspaces.access.tokens import CHALLENGE_OF_A_FORMER_CREDENTIAL, PREFIX_CHARACTERS

# An address may fail this often at once; each pause of FORGIVEN_SECONDS forgives one failure.
MOST_FAILURES = 20
FORGIVEN_SECONDS = 3.0
# So many unknown tokens of such an address are still checked, since one may belong to an agent that has just started.
CHECKS_PER_SECOND = 20.0
# Checking a password takes a good part of a second of CPU time.
MOST_SIGN_INS_AT_ONCE = 2
# Bounds the memory: those that were used longest ago are forgotten first.
_MOST_ADDRESSES = 10_000
_MOST_TOKENS = 50_000
_REFUSED = HTTPStatus.UNAUTHORIZED
# Where a bearer token is looked up: everywhere but on pages, static files and probes. There it proves nothing, so no
# answer there makes it an accepted one.
TAKES_CREDENTIALS = re.compile(
    r"(?!/(?:admin|static|api)(?:/|\Z)|/(?:health|ready|metrics)?\Z).*"
    r"|/admin/workspaces/[^/]+/bootstrap-failed|/api/openapi\.json",
    re.DOTALL,
)


@dataclass
class Standing:
    """The failures of an address or prefix that are not forgiven yet, and how many of its tokens may be checked now."""

    failures: float = 0.0
    checks: float = CHECKS_PER_SECOND
    at: float = field(default_factory=lambda: time.monotonic())

    def pass_time(self, now: float) -> None:
        """Forgive what is due."""
        passed = now - self.at
        self.failures = max(0.0, self.failures - passed / FORGIVEN_SECONDS)
        self.checks = min(CHECKS_PER_SECOND, self.checks + passed * CHECKS_PER_SECOND)
        self.at = now


@dataclass(frozen=True)
class Attempt:
    """A request that shows a credential: a bearer token, as its digest, or a sign-in, without one.

    `prefix` is the public beginning of an API key.
    """

    address: str
    token: bytes | None
    prefix: bytes = b""


class GuessThrottle:
    """Counts the failures of each address and of each key's prefix. All threads of a process use the same one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._standings: OrderedDict[str, Standing] = OrderedDict()
        # Apart from those of addresses, so that whoever makes up prefixes has no address forgotten.
        self._prefixes: OrderedDict[bytes, Standing] = OrderedDict()
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._sign_ins = 0

    def begin(self, attempt: Attempt) -> int:
        """Let an attempt begin and return 0, or return in how many seconds it may be made again.

        Whoever began calls `end`.
        """
        with self._lock:
            seconds = self._seconds_to_wait(attempt)
            if not seconds and attempt.token is None:
                self._sign_ins += 1
        return seconds

    def end(self, attempt: Attempt) -> None:
        """Make room for the next sign-in."""
        if attempt.token is None:
            with self._lock:
                self._sign_ins -= 1

    def _seconds_to_wait(self, attempt: Attempt) -> int:
        if attempt.token is None and self._sign_ins >= MOST_SIGN_INS_AT_ONCE:
            return 1
        if attempt.token in self._known:
            return 0
        own, now = self._standings.get(attempt.address), time.monotonic()
        standings = [each for each in (own, self._prefixes.get(attempt.prefix)) if each]
        for each in standings:
            each.pass_time(now)
        if own is None or not own.failures:
            return 0
        refused = [each for each in standings if each.failures >= MOST_FAILURES]
        if attempt.token is None:
            return 1 + int((own.failures - MOST_FAILURES) * FORGIVEN_SECONDS) if refused else 0
        if any(each.checks < 1 for each in refused):
            return 1
        for each in refused:
            each.checks -= 1
        return 0

    def record(self, attempt: Attempt, status: int, *, challenge: str = "") -> None:
        """Learn from an answer's status and WWW-Authenticate whether the credential was accepted.

        A token that was valid once is no guess: existing agents go on with theirs, and a script's key expires.
        """
        if attempt.token is None:
            # A form that is shown again; after a success the browser is sent on.
            is_wrong, is_accepted = status in {HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS}, False
        else:
            is_wrong = status == _REFUSED and challenge != CHALLENGE_OF_A_FORMER_CREDENTIAL
            is_accepted = 200 <= status < 300
        with self._lock:
            if is_wrong:
                count_failure(self._standings, attempt.address)
                if attempt.prefix:
                    count_failure(self._prefixes, attempt.prefix)
                self._known.pop(attempt.token or b"", None)
            elif is_accepted and attempt.token:
                self._known[attempt.token] = None
                self._known.move_to_end(attempt.token)
                shorten(self._known, most=_MOST_TOKENS)


def count_failure(standings: OrderedDict[Any, Standing], key: Any) -> None:
    """Count a failure of an address or prefix."""
    standing = standings.setdefault(key, Standing())
    standings.move_to_end(key)
    standing.pass_time(time.monotonic())
    standing.failures = min(standing.failures + 1, 2.0 * MOST_FAILURES)
    shorten(standings, most=_MOST_ADDRESSES)


def shorten(kept: OrderedDict, *, most: int) -> None:
    """Forget the entry that was used longest ago if there are too many."""
    if len(kept) > most:
        kept.popitem(last=False)


def attempt_of(*, method: str, path: str, authorization: bytes, address: str) -> Attempt | None:
    """Return the attempt that a request makes, or None if it shows no credential that is judged at this path."""
    scheme, _, credential = authorization.partition(b" ")
    if scheme.lower() == b"bearer" and TAKES_CREDENTIALS.fullmatch(path):
        key = credential.strip(b" \t")
        prefix = key[:PREFIX_CHARACTERS] if key.startswith(KEY_PREFIX.encode()) else b""
        return Attempt(address=network_of(address), token=hashlib.sha256(key).digest(), prefix=prefix)
    if method == "POST" and path == SIGN_IN_PATH:
        return Attempt(address=network_of(address), token=None)
    return None


def network_of(address: str) -> str:
    """Return the address, or for IPv6 its network of 64 bits, of which one host has all addresses."""
    found = parsed(address)
    if found is None:
        return address
    return str(found) if found.version == 4 else str(int(found) >> 64)


def refusal(attempt: Attempt, seconds: int) -> tuple[bytes, Mapping[str, str]]:
    """Return the body and headers of a 429."""
    unit = "second" if seconds == 1 else "seconds"
    what = "wrong tokens" if attempt.token else "sign-ins or wrong passwords"
    sentence = f"Too many {what} at once. Try again in {seconds} {unit}."
    headers = {"Retry-After": str(seconds), "Cache-Control": "no-store"}
    if attempt.token is None:
        page = f"<!doctype html><title>Try again later</title><p>{sentence}</p>"
        return page.encode(), {**headers, "Content-Type": "text/html; charset=utf-8"}
    body = f'{{"error":"{sentence}","code":"throttled"}}'.encode()
    return body, {**headers, **LEFT_UNREAD, "Content-Type": "application/json"}
