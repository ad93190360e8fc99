"""Keeps the requests for one workspace from taking every thread and database connection while its row is locked."""

import threading
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from config.api.error_responses import try_later, try_later_page
from workspaces.access.authentication import bearer_token

MOST_AT_ONCE = 2
# A change takes milliseconds, unless it waits for its row.
STUCK_AFTER_SECONDS = 0.5
# A change that waits for its turn takes a thread.
WAIT_SECONDS = 1.0
# Other objects of the admin may have the same ID as each other.
_ADMIN = "/admin/workspaces/workspace/"
_ENTERED = "slipway.gate"


class WorkspaceGate(MiddlewareMixin):
    """Lets each process work on MOST_AT_ONCE changes to a workspace at once; a further one waits for its turn.

    While one of those that are worked on is stuck, further ones are answered 503 at once.
    """

    # When each change that is worked on began, by workspace.
    _began: defaultdict[str, list[float]] = defaultdict(list)
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
        if self.enter(request, key, patience_seconds=0 if self.async_mode else WAIT_SECONDS):
            return None
        sentence = "Earlier requests for this workspace are still waiting. Try again in a second."
        return try_later_page(request, sentence, seconds=1) if in_admin else try_later(sentence, seconds=1)

    def enter(self, request: HttpRequest, key: str, *, patience_seconds: float) -> bool:
        """Wait for the request's turn. Return whether it has come in time."""
        ends_at = time.monotonic() + patience_seconds
        with self._left:
            while len(self._began[key]) >= MOST_AT_ONCE:
                until = min(self._began[key][0] + STUCK_AFTER_SECONDS, ends_at)
                if (seconds := until - time.monotonic()) <= 0:
                    return False
                self._left.wait(seconds)
            began = time.monotonic()
            self._began[key].append(began)
        request.META[_ENTERED] = key, began
        return True

    def leave(self, request: HttpRequest) -> None:
        """Let the next request in, if this one was let in."""
        if entered := request.META.pop(_ENTERED, None):
            key, began = entered
            with self._left:
                self._began[key].remove(began)
                if not self._began[key]:
                    del self._began[key]
                self._left.notify_all()
