"""Keeps the requests for one workspace from taking every thread and database connection while its row is locked."""

import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from config.api.error_responses import try_later, try_later_page
from workspaces.access.authentication import bearer_token

# An agent sends one report after the other, and an operator may click while it does.
MOST_AT_ONCE = 2
# Other objects of the admin may have the same ID as each other.
_ADMIN = "/admin/workspaces/workspace/"
_KEY = "slipway.gate_key"


class WorkspaceGate(MiddlewareMixin):
    """Lets each process work on MOST_AT_ONCE changes to a workspace at once, and answers 503 to further ones."""

    _running: Counter[str] = Counter()
    _lock = threading.Lock()

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
        with self._lock:
            if self._running[key] < MOST_AT_ONCE:
                self._running[key] += 1
                request.META[_KEY] = key
                return None
        sentence = "Earlier requests for this workspace are still waiting. Try again in a second."
        return try_later_page(request, sentence, seconds=1) if in_admin else try_later(sentence, seconds=1)

    def leave(self, request: HttpRequest) -> None:
        """Make room for the next request, if this one was let in."""
        if key := request.META.pop(_KEY, None):
            with self._lock:
                self._running[key] -= 1
                if not self._running[key]:
                    del self._running[key]
