"""The entry of a WSGI process, around Django."""

import io
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from config.entry import bodies
from config.entry.guesses import GuessThrottle, address_of, attempt_of, refusal

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

# A thread waits for each body. Those that take longer than a moment may keep only a few of the threads.
_MOMENT_SECONDS = 1.0
_MOST_SLOW_BODIES = 2
# A little more than any limit is read to its end, since a proxy that can't send all of a body may drop the answer.
_READ_BYTES = 16 * 1_048_576


class WsgiEntry:
    """Passes requests on to an application, unless they send too much or their address guesses credentials."""

    def __init__(self, application: Callable[[Environ, StartResponse], Iterable[bytes]]) -> None:
        self._application = application
        self._throttle = GuessThrottle()
        self._slow_bodies = threading.BoundedSemaphore(_MOST_SLOW_BODIES)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        attempt = attempt_of(
            method=environ["REQUEST_METHOD"],
            path=environ.get("PATH_INFO", ""),
            authorization=environ.get("HTTP_AUTHORIZATION", "").encode("latin-1"),
            address=address_of(environ.get("REMOTE_ADDR", ""), environ.get("HTTP_X_FORWARDED_FOR", "")),
        )
        try:
            self.read_body(environ)
        except bodies.BodyRefused as refused:
            return respond(start_response, refused.status, refused.body, refused.headers)
        if attempt is None:
            return self._application(environ, start_response)
        if seconds := self._throttle.begin(attempt):
            body, headers = refusal(attempt, seconds)
            return respond(start_response, HTTPStatus.TOO_MANY_REQUESTS, body, headers)

        def start_and_record(status: str, *rest: Any) -> Any:
            self._throttle.record(attempt, int(status.split(" ", 1)[0]))
            return start_response(status, *rest)

        try:
            return self._application(environ, start_and_record)
        finally:
            self._throttle.end(attempt)

    def read_body(self, environ: Environ) -> None:
        """Read the whole body, so that Django finds it in memory. Raises BodyRefused."""
        length, limit = environ.get("CONTENT_LENGTH") or "", bodies.limit_of(environ.get("PATH_INFO", ""))
        if not length.strip("0") and "HTTP_TRANSFER_ENCODING" not in environ:
            return
        bodies.check_length(length, limit=_READ_BYTES)
        source, read = environ["wsgi.input"], []
        # The server's own read waits without end.
        thread = threading.Thread(target=lambda: read.append(source.read(_READ_BYTES)), daemon=True)
        thread.start()
        thread.join(_MOMENT_SECONDS)
        if thread.is_alive() and self._slow_bodies.acquire(blocking=False):
            thread.join(bodies.BODY_SECONDS - _MOMENT_SECONDS)
            self._slow_bodies.release()
        if not read:
            raise bodies.too_slow()
        if len(read[0]) > limit:
            raise bodies.too_large(limit)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(read[0]), str(len(read[0]))


def respond(start_response: StartResponse, status: HTTPStatus, body: bytes, headers: Any) -> list[bytes]:
    """Start a whole response and return its body."""
    start_response(f"{status.value} {status.phrase}", [*headers.items(), ("Content-Length", str(len(body)))])
    return [body]
