"""Keeps the requests for one workspace from taking every thread and database connection while its row is locked."""

import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from config.api.error_responses import try_later, try_later_page
from workspaces.access.authentication import bearer_token

MOST_AT_ONCE = 2
# A change takes milliseconds, unless it waits for its row.
STUCK_AFTER_SECONDS = 0.5
# A change that waits for its turn takes a thread, and others need some, too.
MOST_WAITING = 1
WAIT_SECONDS = 1.0
# Other objects of the admin may have the same ID as each other.
_ADMIN = "/admin/workspaces/workspace/"
_ENTERED = "slipway.gate"
_LEFT = "slipway.gate.left"


@dataclass
class Turns:
    """The changes to one workspace: when each that is worked on began, and how many wait."""

    began: list[float] = field(default_factory=list)
    waiting: int = 0


class WorkspaceGate(MiddlewareMixin):
    """Lets each process work on MOST_AT_ONCE changes to a workspace at once; a further one waits for its turn.

    While one of those that are worked on is stuck, or another one waits, further ones are answered 503 at once.
    """

    _turns: defaultdict[str, Turns] = defaultdict(Turns)
    _left = threading.Condition()

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.async_mode:
            return self.__acall__(request)
        try:
            return self.get_response(request)
        finally:
            self.leave(request)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return await self.get_response(request)  # type: ignore[misc]
        finally:
            self.leave(request)

    def process_view(
        self, request: HttpRequest, _view: Callable[..., Any], _args: Any, named: Mapping[str, Any]
    ) -> HttpResponseBase | None:
        """Let the request pass, or answer it."""
        # An agent's reports name their workspace only in the body, but its token belongs to that workspace alone.
        of_agent = bearer_token(request) if request.path_info.startswith("/registry/") else None
        in_admin = named.get("object_id") if request.path_info.startswith(_ADMIN) else None
        key = str(of_agent or named.get("workspace_id") or in_admin or "")
        if not key or request.method in {"GET", "HEAD", "OPTIONS"}:
            return None
        with self._left:
            # A client that has left meanwhile has passed `leave` already, under ASGI.
            if self.may_enter(key) and not request.META.get(_LEFT):
                began = time.monotonic()
                self._turns[key].began.append(began)
                request.META[_ENTERED] = key, began
                return None
            self.forget_if_empty(key)
        sentence = "Earlier requests for this workspace are still waiting. Try again in a second."
        return try_later_page(request, sentence, seconds=1) if in_admin else try_later(sentence, seconds=1)

    def may_enter(self, key: str) -> bool:
        """Wait for the turn of a change. Return whether it has come in time."""
        turns, ends_at = self._turns[key], time.monotonic() + WAIT_SECONDS
        while len(turns.began) >= MOST_AT_ONCE:
            seconds = min(turns.began[0] + STUCK_AFTER_SECONDS, ends_at) - time.monotonic()
            if seconds <= 0 or turns.waiting >= MOST_WAITING:
                return False
            turns.waiting += 1
            self._left.wait(seconds)
            turns.waiting -= 1
        return True

    def leave(self, request: HttpRequest) -> None:
        """Let the next request in, if this one was let in."""
        with self._left:
            request.META[_LEFT] = True
            if entered := request.META.pop(_ENTERED, None):
                key, began = entered
                self._turns[key].began.remove(began)
                self.forget_if_empty(key)
                self._left.notify_all()

    def forget_if_empty(self, key: str) -> None:
        """Forget a workspace that no change is made to."""
        if self._turns[key] == Turns():
            del self._turns[key]
