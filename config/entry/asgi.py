"""The entry of an ASGI process: around Django and around the live streams."""

import asyncio
from collections.abc import Mapping
from typing import Any

from config.entry import bodies, proxies
from config.entry.guesses import Attempt, GuessThrottle, attempt_of, refusal
from config.entry.rates import RateLimiter, caller_of
from config.entry.shares import Application, Message, Receive, Send, Shares
from events.live.stream_request import own_path

# Whoever guesses waits for each refusal, since a client that is answered at once comes back at once.
_REFUSAL_SECONDS = 1.0
_MOST_WAITING = 200


class AsgiEntry:
    """Passes requests on to an application, unless they send too much or their address guesses credentials."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._throttle = GuessThrottle()
        self._rates = RateLimiter()
        self._shares = Shares()
        self._waiting = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        scope = behind_proxies(scope)
        attempt = attempt_in(scope)
        caller = caller_of(path=own_path(scope), attempt=attempt, cookie=header_in(scope, b"cookie"))
        if quota := self._rates.count(caller):
            send = with_headers(send, quota.headers)
            if quota.calls < 0:
                await self.refuse(scope, send, *quota.refusal())
                return
        if scope["type"] == "websocket":
            await self.serve(scope, receive, send, attempt=attempt)
            return
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.serve(scope, limited(scope, receive), send_and_note, attempt=attempt)
        except bodies.TurnedAway as refused:
            if not has_begun:
                await respond(send, refused.status, refused.body, refused.headers)

    async def serve(self, scope: Any, receive: Receive, send: Send, *, attempt: Attempt | None) -> None:
        """Serve one request or WebSocket, unless its address guesses credentials."""
        if attempt and attempt.token is None:
            # Few sign-ins are checked at once, and one that never arrives must not be among them.
            receive = await read_whole(receive)
        if attempt is None:
            await self._shares.serve(self._application, scope, receive, send, path=own_path(scope))
        elif seconds := self._throttle.begin(attempt):
            await self.refuse(scope, send, *refusal(attempt, seconds))
        else:
            is_answered = False

            async def send_and_record(message: Message) -> None:
                nonlocal is_answered
                if not is_answered:
                    challenge = header_in(message, b"www-authenticate")
                    self._throttle.record(attempt, status_of(message), challenge=challenge)
                is_answered = True
                await send(message)

            try:
                await self._shares.serve(self._application, scope, receive, send_and_record, path=own_path(scope))
            finally:
                self._throttle.end(attempt)

    async def refuse(self, scope: Any, send: Send, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer 429, later than necessary."""
        if self._waiting < _MOST_WAITING:
            self._waiting += 1
            try:
                await asyncio.sleep(_REFUSAL_SECONDS)
            finally:
                self._waiting -= 1
        if scope["type"] == "http":
            await respond(send, 429, body, headers)
        elif "websocket.http.response" in (scope.get("extensions") or {}):
            await respond(send, 429, body, headers, kind="websocket.http.response")
        else:
            await send({"type": "websocket.close", "code": 4429, "reason": f"Try again in {headers['Retry-After']} s."})


def status_of(answer: Message) -> int:
    """Return the HTTP status that an application answers with, by its first message."""
    if answer["type"] == "websocket.accept":
        return 200
    # A refused WebSocket is closed with 4000 and the status (events/live/websocket.py) if it can't be answered by HTTP.
    return answer["code"] - 4000 if answer["type"] == "websocket.close" else answer["status"]


def limited(scope: Any, receive: Receive) -> Receive:
    """Return `receive` with limits on the size of the body and the time that it takes. It raises TurnedAway."""
    limit = bodies.limit_of(own_path(scope))
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    bodies.check_length(length.decode("latin-1"), limit=limit)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + bodies.BODY_SECONDS
    received, is_complete = 0, False

    async def receive_within_limits() -> Message:
        nonlocal received, is_complete
        if is_complete:
            # What comes now is that the client has left, at any time.
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise bodies.too_slow(bodies.BODY_SECONDS) from None
        received += len(message.get("body", b""))
        if received > limit:
            raise bodies.too_large(limit)
        is_complete = not message.get("more_body", False)
        return message

    return receive_within_limits


async def read_whole(receive: Receive) -> Receive:
    """Wait for the whole body, and return a `receive` that gives it again."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())

    async def receive_again() -> Message:
        return messages.pop(0) if messages else await receive()

    return receive_again


def behind_proxies(scope: Any) -> dict[str, Any]:
    """Return the scope with the client's address and the prefix, and without what nobody trusted says of the request.

    As in any ASGI scope, `path` begins with the prefix, which is `root_path`.
    """
    peer, port = scope.get("client") or ("", 0)
    if not proxies.is_trusted(peer, passed=0):
        untrusted = {b"x-forwarded-proto", b"x-forwarded-prefix"}
        scope = {**scope, "headers": [each for each in scope["headers"] if each[0] not in untrusted]}
    prefix, path = proxies.prefix_and_path(
        scope["path"],
        forwarded_prefix=header_in(scope, b"x-forwarded-prefix"),
        server_prefix=scope.get("root_path", ""),
    )
    address = proxies.client_address(peer, header_in(scope, b"x-forwarded-for") or None)
    return {**scope, "client": (address, port), "root_path": prefix, "path": prefix + path}


def header_in(scope: Any, wanted: bytes) -> str:
    """Return what the headers of this name say, joined as Django joins them."""
    return b",".join(value for name, value in scope.get("headers", ()) if name.lower() == wanted).decode("latin-1")


def with_headers(send: Send, more: Mapping[str, str]) -> Send:
    """Return a `send` that adds headers to those of the answer."""
    added = [(name.lower().encode(), value.encode()) for name, value in more.items()]

    async def send_with_them(message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.http.response.start", "websocket.accept"}:
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return send_with_them


def attempt_in(scope: Any) -> Attempt | None:
    """Return the attempt that a request makes, or None if it shows no credential."""
    # Of several the first, since Django joins them in their order.
    authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    address = scope["client"][0]
    # A WebSocket's scope has no method.
    method = scope.get("method", "GET")
    return attempt_of(method=method, path=own_path(scope), authorization=authorization, address=address)


async def respond(send: Send, status: int, body: bytes, headers: Any, *, kind: str = "http.response") -> None:
    """Send a whole response."""
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": f"{kind}.start", "status": status, "headers": pairs})
    await send({"type": f"{kind}.body", "body": body})
