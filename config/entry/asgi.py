"""The entry of an ASGI process: around Django and around the live streams."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from config.entry import bodies
from config.entry.guesses import Attempt, GuessThrottle, address_of, attempt_of, refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

# Whoever guesses waits for each refusal, since a client that is answered at once comes back at once.
_REFUSAL_SECONDS = 1.0
_MOST_WAITING = 200


class AsgiEntry:
    """Passes requests on to an application, unless they send too much or their address guesses credentials."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._throttle = GuessThrottle()
        self._waiting = 0

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self.serve(scope, limited(scope, receive), send_and_note)
        except bodies.BodyRefused as refused:
            if not has_begun:
                await respond(send, refused.status, refused.body, refused.headers)

    async def serve(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request, unless its address guesses credentials."""
        attempt = attempt_in(scope)
        if attempt and attempt.token is None:
            # Few sign-ins are checked at once, and one that never arrives must not be among them.
            receive = await read_whole(receive)
        if attempt is None:
            await self._application(scope, receive, send)
        elif seconds := self._throttle.begin(attempt):
            await self.refuse(attempt, seconds, send)
        else:

            async def send_and_record(message: Message) -> None:
                if message["type"] == "http.response.start":
                    self._throttle.record(attempt, message["status"])
                await send(message)

            try:
                await self._application(scope, receive, send_and_record)
            finally:
                self._throttle.end(attempt)

    async def refuse(self, attempt: Attempt, seconds: int, send: Send) -> None:
        """Answer 429, later than necessary."""
        if self._waiting < _MOST_WAITING:
            self._waiting += 1
            try:
                await asyncio.sleep(_REFUSAL_SECONDS)
            finally:
                self._waiting -= 1
        body, headers = refusal(attempt, seconds)
        await respond(send, 429, body, headers)


def limited(scope: Any, receive: Receive) -> Receive:
    """Return `receive` with limits on the size of the body and the time that it takes. It raises BodyRefused."""
    limit = bodies.limit_of(scope["path"])
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
            raise bodies.too_slow() from None
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


def attempt_in(scope: Any) -> Attempt | None:
    """Return the attempt that a request makes, or None if it shows no credential."""
    headers = dict(scope["headers"])
    authorization = headers.get(b"authorization", b"")
    peer = (scope.get("client") or ("", 0))[0]
    address = address_of(peer, headers.get(b"x-forwarded-for", b"").decode("latin-1"))
    return attempt_of(method=scope["method"], path=scope["path"], authorization=authorization, address=address)


async def respond(send: Send, status: int, body: bytes, headers: Any) -> None:
    """Send a whole response."""
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
