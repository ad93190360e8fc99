"""Followed logs as an ASGI application that runs beside Django's, as the live streams do (ADR 14)."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs
from uuid import UUID

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import DisallowedHost, TooManyFieldsSent
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, connections

from events.live.authorization import django_request, require_authorization
from events.live.event_batch import AsgiMessage, body_part
from events.live.server_sent import send_refusal
from events.live.stream import BAD_HOST, StreamRefused
from events.live.stream_request import own_path
from events.parameters import WrongParameters, check_parameters
from workspaces.access.authentication import Agent, Operator, bearer_token
from workspaces.access.errors import RequestRefused
from workspaces.api.diagnosis.log_spans import LogStream, span_of
from workspaces.api.diagnosis.logs import ShownPart, read_part, why_over
from workspaces.api.diagnosis.pending_checks import PendingChecks
from workspaces.api.edits import find
from workspaces.models import Workspace
from workspaces.provisioners.base import ProvisionerError
from workspaces.services.core.transition import UnknownWorkspace

T = TypeVar("T")
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[AsgiMessage], Awaitable[None]]
# Raises StreamRefused if the request may not read the log of the workspace. It runs in a thread and may query.
Authorize = Callable[[ASGIRequest, UUID | None], Operator | Agent]

_PATH = re.compile(r"/workspaces/([^/]+)/logs")
# As Pydantic reads a boolean.
_TRUE = frozenset({"1", "on", "t", "true", "y", "yes"})
_POSITION = re.compile(r"([0-9]{1,18})(?:@([0-9a-fA-F-]{36}))?")
_HEADERS = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"), (b"x-content-type-options", b"nosniff")]
_EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, kw_only=True)
class LogLimits:
    """How many logs a process follows, how often it looks at each, and when a client counts as too slow."""

    most_streams: int = 50
    # Of these, so that no agents take the others from operators, and no agent takes them from other agents.
    most_of_agents: int = 20
    most_of_one_agent: int = 3
    # How many requests may wait until it is known who asks, and how many of one credential are looked up at once: fewer
    # than the threads for it, of which there are at least five.
    most_checks: int = 200
    most_checks_of_one_credential: int = 20
    most_checks_at_once: int = 4
    poll_seconds: float = 1.0
    keep_alive_seconds: float = 10.0
    recheck_seconds: float = 15.0
    # How long a client may read nothing from a full socket.
    stuck_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What a client follows, and from where on; also whether the client is the workspace's agent."""

    workspace_id: UUID
    launch_id: UUID
    which: LogStream | None
    offset: int
    is_event_stream: bool
    is_by_agent: bool

    def message(self, part: ShownPart) -> bytes:
        """Return a part of the log as the client reads it. The ID is the offset behind it and the launch."""
        if not self.is_event_stream:
            return part.text.encode()
        data = "".join(f"data: {line}\n" for line in part.text.removesuffix("\n").split("\n"))
        return f"id: {part.offset}@{self.launch_id}\n{data}\n".encode()

    def end_message(self, why: str) -> bytes:
        """Return what tells the client that the log has ended, and that it need not connect again."""
        return f"event: end\ndata: {json.dumps({'reason': why})}\n\n".encode() if self.is_event_stream else b""


class LogStreams:
    """The ASGI application for the requests that `serves` accepts. One for each process."""

    def __init__(self, *, authorize: Authorize, limits: LogLimits | None = None) -> None:
        self._authorize = authorize
        self._limits = limits or LogLimits()
        self._checks = PendingChecks(
            most=self._limits.most_checks,
            most_of_one=self._limits.most_checks_of_one_credential,
            most_at_once=self._limits.most_checks_at_once,
        )
        self._open = 0
        self._of_agents: Counter[UUID] = Counter()

    def serves(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a request asks to follow a log."""
        if scope["type"] != "http" or not _PATH.fullmatch(own_path(scope)):
            return False
        values = parse_qs(scope["query_string"].decode("latin-1")).get("follow", [""])
        return values[-1].lower() in _TRUE

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one client until it disconnects or the log ends."""
        try:
            async with self._checks.turn(credential_in(scope)):
                followed = await self.check(scope)
            # It counts only once it is known who asks: else agents would take the streams of operators by asking.
            with self.counting(followed):
                kind = _EVENT_STREAM if followed.is_event_stream else "text/plain"
                headers = [(b"content-type", f"{kind}; charset=utf-8".encode()), *_HEADERS]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                # The server sends its headers with the first part of the body, even with an empty one.
                await self.write(send, b"retry: 2000\n\n" if followed.is_event_stream else b"")
                await self.follow(followed, scope, receive, send)
        except StreamRefused as refusal:
            await send_refusal(send, refusal)
        except TimeoutError:
            # Too slow: it reads the rest from where it was.
            return

    @contextmanager
    def counting(self, followed: Followed) -> Iterator[None]:
        """Count a stream while it lasts; one that an agent follows also for its workspace, whichever token it has sent.

        Raises StreamRefused if too many are followed, by all, by agents or by this one.
        """
        limits, agent, of_agents = self._limits, followed.workspace_id, self._of_agents
        is_agent_refused = of_agents.total() >= limits.most_of_agents or of_agents[agent] >= limits.most_of_one_agent
        # No await from here to the count, so that many at once don't pass the limit together.
        if self._open >= limits.most_streams or (followed.is_by_agent and is_agent_refused):
            why = "Too many logs are followed here already. Try again later."
            raise StreamRefused(503, why, headers={"Retry-After": "10"}, code="unavailable")
        self._open += 1
        of_agents[agent] += followed.is_by_agent
        try:
            yield
        finally:
            self._open -= 1
            of_agents[agent] -= followed.is_by_agent
            if not of_agents[agent]:
                del of_agents[agent]

    async def check(self, scope: Mapping[str, Any]) -> Followed:
        """Return what a client asks for. Raises StreamRefused."""
        if scope["method"] != "GET":
            raise StreamRefused(405, "A log answers GET only.", code="method_not_allowed", headers={"Allow": "GET"})
        request, match = django_request(scope), _PATH.fullmatch(own_path(scope))
        try:
            workspace_id = UUID(match[1] if match else "")
            request.get_host()
            client = await require_authorization(scope, workspace_id, authorize=self._authorize)
            workspace = await in_thread(lambda: find(workspace_id))
            which, offset, of_launch = read_parameters(request)
            # Before the first byte, since the status says it.
            if not workspace.is_external:
                await in_thread(lambda: span_of(workspace.launch_id, which))
        except RequestRefused as refusal:
            raise StreamRefused(refusal.status, str(refusal), code=refusal.code) from None
        except (ValueError, UnknownWorkspace):
            raise StreamRefused(404, "There is no workspace with this ID.", code="not_found") from None
        except TooManyFieldsSent:
            raise StreamRefused(400, "The request has too many parameters.", code="bad_request") from None
        except DisallowedHost:
            raise StreamRefused(400, BAD_HOST, code="bad_host") from None
        except DatabaseError:
            why = "The database can't be used right now. Try again in a few seconds."
            raise StreamRefused(503, why, headers={"Retry-After": "2"}, code="unavailable") from None
        # What was read of an earlier launch says nothing of this one.
        is_of_other = of_launch is not None and of_launch.lower() != str(workspace.launch_id)
        return Followed(
            workspace_id=workspace_id,
            launch_id=workspace.launch_id,
            which=which,
            offset=0 if is_of_other else offset,
            is_event_stream=_EVENT_STREAM in request.headers.get("Accept", ""),
            is_by_agent=isinstance(client, Agent),
        )

    async def follow(self, followed: Followed, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Send the log from the offset on until it ends, the client leaves, or may not read it any more."""
        loop = asyncio.get_running_loop()
        offset, written_at, checked_at = followed.offset, loop.time(), loop.time()
        disconnected, why = asyncio.ensure_future(until_disconnected(receive)), ""
        try:
            while not disconnected.done() and not why:
                part, why = await self.look(followed, offset)
                if part.text:
                    await self.write(send, followed.message(part))
                    written_at = loop.time()
                elif followed.is_event_stream and loop.time() - written_at >= self._limits.keep_alive_seconds:
                    await self.write(send, b": keep-alive\n\n")
                    written_at = loop.time()
                if loop.time() - checked_at >= self._limits.recheck_seconds:
                    checked_at = loop.time()
                    why = why or await self.why_refused(scope, followed.workspace_id)
                if part.offset == offset:
                    await asyncio.wait([disconnected], timeout=self._limits.poll_seconds)
                offset = part.offset
            if not disconnected.done():
                await self.write(send, followed.end_message(why))
                await send(body_part(b"", is_last=True))
        finally:
            disconnected.cancel()

    async def look(self, followed: Followed, offset: int) -> tuple[ShownPart, str]:
        """Return what was written since, and why nothing more will be, or "". An outage ends nothing."""
        nothing = ShownPart(text="", offset=offset)
        try:
            return await in_thread(lambda: look_at(followed, offset))
        except UnknownWorkspace:
            return nothing, "The workspace was deleted."
        except RequestRefused as refusal:
            return nothing, str(refusal)
        except (ProvisionerError, DatabaseError):
            return nothing, ""

    async def why_refused(self, scope: Mapping[str, Any], workspace_id: UUID) -> str:
        """Return why the client may not read the log any more, or ""."""
        try:
            await require_authorization(scope, workspace_id, authorize=self._authorize)
        except StreamRefused as refusal:
            return str(refusal)
        except DatabaseError:
            return ""
        return ""

    async def write(self, send: Send, data: bytes) -> None:
        """Send a part of the body. Raises TimeoutError if the client takes nothing for too long."""
        async with asyncio.timeout(self._limits.stuck_seconds):
            await send(body_part(data))


def credential_in(scope: Mapping[str, Any]) -> str:
    """Return what a request shows of who asks, as its authentication reads it: the bearer token, else the session."""
    request = django_request(scope)
    token = bearer_token(request)
    return request.COOKIES.get(settings.SESSION_COOKIE_NAME, "") if token is None else f"Bearer {token}"


def look_at(followed: Followed, offset: int) -> tuple[ShownPart, str]:
    """Return what was written to a log since the offset, and why nothing more will be, or "".

    Raises UnknownWorkspace, ProvisionerError, and RequestRefused if the log can't be divided.
    """
    workspace = find(followed.workspace_id)
    part = next_part(workspace, followed, offset)
    if part.offset != offset:
        return part, ""
    if why := why_over(workspace, followed.launch_id, stream=followed.which):
        # Once more, since its last lines may have been written in between.
        part = next_part(workspace, followed, offset, is_last=True)
    return part, why if part.offset == offset or not why else ""


def next_part(workspace: Workspace, followed: Followed, offset: int, *, is_last: bool = False) -> ShownPart:
    """Return the next lines of what a client follows. Raises ProvisionerError or RequestRefused as `read_part`."""
    nothing = ShownPart(text="", offset=offset)
    if workspace.is_external:
        return nothing
    span = span_of(followed.launch_id, followed.which)
    if span.is_over(offset):
        return nothing
    begin = max(offset, span.begin)
    part = read_part(workspace, followed.launch_id, offset=begin, is_last=is_last, span=span)
    if followed.which is LogStream.BOOT and span_of(followed.launch_id, followed.which) != span:
        # It came online meanwhile, so the agent may have written the last lines of the part.
        return next_part(workspace, followed, offset, is_last=is_last)
    return part


def read_parameters(request: ASGIRequest) -> tuple[LogStream | None, int, str | None]:
    """Return what to read, from which offset on, and of which launch it is if the client says so.

    Raises StreamRefused.
    """
    try:
        check_parameters(request.GET, ("stream", "follow", "after"), repeatable=())
    except WrongParameters as error:
        raise StreamRefused(422, str(error), code="validation_error", fields=error.fields) from None
    name = request.GET.get("stream")
    if name is not None and name not in list(LogStream):
        raise invalid("stream", "It is boot or agent.")
    # A browser that connects again sends the header with the URL that it was given first, so the header is newer.
    place = request.headers.get("Last-Event-ID") or request.GET.get("after") or "0"
    position = _POSITION.fullmatch(place)
    if position is None:
        raise invalid("after", "It is the ID of a message, or an offset in bytes.")
    return LogStream(name) if name else None, int(position[1]), position[2]


def invalid(field: str, why: str) -> StreamRefused:
    """Return the refusal of a parameter."""
    return StreamRefused(422, f"{field}: {why}", code="validation_error", fields={field: why})


async def until_disconnected(receive: Receive) -> None:
    """Wait until the client has gone; drop whatever else it sends."""
    while not (await receive())["type"].endswith(".disconnect"):
        pass


async def in_thread(act: Callable[[], T]) -> T:
    """Return what a function returns that uses the database or a backend."""

    def act_and_close() -> T:
        try:
            return act()
        finally:
            # The thread is one of a pool, and each would keep its database connection.
            connections.close_all()

    return await sync_to_async(act_and_close, thread_sensitive=False)()
