"""How often each credential may call, told in the headers of draft-ietf-httpapi-ratelimit-headers-10.

Each process counts for itself: a count that all share would put Redis in front of every heartbeat, and its outage in
front of every call.
"""

import hashlib
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from django.conf import settings
from django.http import parse_cookie

from config.entry.bodies import LEFT_UNREAD
from config.entry.guesses import TAKES_CREDENTIALS, Attempt, shorten

WINDOW_SECONDS = 60
# Bounds the memory: those that called longest ago are forgotten first.
_MOST_CALLERS = 50_000


class Policy(StrEnum):
    """Whose calls are counted together: reports to the registry, or everything else that takes a credential."""

    AGENTS = "agents"
    OPERATORS = "operators"

    @classmethod
    def of(cls, path: str) -> "Policy":
        """Return the policy of the calls to a path."""
        return cls.AGENTS if path.startswith("/registry/") else cls.OPERATORS

    @property
    def calls(self) -> int:
        """Return how many calls one credential may make in WINDOW_SECONDS; 0 means any number."""
        of_agents: int = settings.AGENT_CALLS_PER_MINUTE
        return of_agents if self is Policy.AGENTS else settings.OPERATOR_CALLS_PER_MINUTE


class Caller(NamedTuple):
    """A credential, as its digest, and what it is used for."""

    policy: Policy
    credential: bytes


@dataclass
class Window:
    """The calls of one caller until a moment of the monotonic clock."""

    ends_at: float
    calls: int = 0


class Quota(NamedTuple):
    """What a caller has left: `calls` of `limit` for so many seconds. Below 0, refuse the call."""

    policy: Policy
    limit: int
    calls: int
    seconds: int

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of the answer. Their values are structured fields (RFC 9651)."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.policy}";r={max(0, self.calls)};t={self.seconds}',
        }

    def refusal(self) -> tuple[bytes, dict[str, str]]:
        """Return the body of a 429, and the headers that it has besides."""
        unit = "second" if self.seconds == 1 else "seconds"
        sentence = f"This credential made more than {self.limit} calls in {WINDOW_SECONDS} seconds. "
        sentence += f"Try again in {self.seconds} {unit}."
        headers = {"Retry-After": str(self.seconds), "Cache-Control": "no-store", "Content-Type": "application/json"}
        return f'{{"error":"{sentence}","code":"rate_limited"}}'.encode(), {**headers, **LEFT_UNREAD}


class RateLimiter:
    """Counts the calls of each credential. All threads of a process use the same one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: OrderedDict[Caller, Window] = OrderedDict()

    def count(self, caller: Caller | None) -> Quota | None:
        """Count a call and return what is left, or None if it has no limit. A window begins with its first call."""
        limit = caller.policy.calls if caller else 0
        if caller is None or not limit:
            return None
        now = time.monotonic()
        with self._lock:
            window = self._windows.get(caller)
            if window is None or window.ends_at <= now:
                window = self._windows[caller] = Window(ends_at=now + WINDOW_SECONDS)
            self._windows.move_to_end(caller)
            shorten(self._windows, most=_MOST_CALLERS)
            window.calls += 1
            return Quota(caller.policy, limit, limit - window.calls, math.ceil(window.ends_at - now))


def caller_of(*, path: str, attempt: Attempt | None, cookie: str) -> Caller | None:
    """Return who makes a call, or None without a credential or where none is taken: pages, static files, probes."""
    policy = Policy.of(path)
    if attempt and attempt.token:
        return Caller(policy, attempt.token)
    if cookie and TAKES_CREDENTIALS.fullmatch(path):
        session = parse_cookie(cookie).get(settings.SESSION_COOKIE_NAME)
        return Caller(policy, hashlib.sha256(session.encode()).digest()) if session else None
    return None
