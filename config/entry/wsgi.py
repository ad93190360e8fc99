"""The entry of a WSGI process, around Django."""

import io
import threading
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse

from config.entry import bodies, proxies
from config.entry.body_readers import BodyReaders
from config.entry.guesses import Attempt, GuessThrottle, attempt_of, refusal
from config.entry.rates import RateLimiter, caller_of

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

# A thread waits for each body. Those that take longer than a moment may keep only a few of the threads.
_MOMENT_SECONDS = 1.0
_MOST_SLOW_BODIES = 2
_MOST_READERS = 200
# A little more than any limit is read to its end, since a proxy that can't send all of a body may drop the answer.
_READ_BYTES = 16 * 1_048_576


class WsgiEntry:
    """Passes requests on to an application, unless they send too much or their address guesses credentials."""

    def __init__(self, application: Callable[[Environ, StartResponse], Iterable[bytes]]) -> None:
        self._application = application
        self._throttle = GuessThrottle()
        self._rates = RateLimiter()
        self._slow_bodies = threading.BoundedSemaphore(_MOST_SLOW_BODIES)
        self._readers = BodyReaders(_MOST_READERS)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        look_behind_proxies(environ)
        attempt = attempt_of(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            authorization=environ.get("HTTP_AUTHORIZATION", "").encode("latin-1"),
            address=environ["REMOTE_ADDR"],
        )
        path, cookie = environ["PATH_INFO"], environ.get("HTTP_COOKIE", "")
        if quota := self._rates.count(caller_of(path=path, attempt=attempt, cookie=cookie)):
            start_response = with_headers(start_response, quota.headers)
            if quota.calls < 0:
                body, headers = quota.refusal()
                return respond(start_response, HTTPStatus.TOO_MANY_REQUESTS, body, headers)
        try:
            if attempt:
                return self.serve(attempt, environ, start_response)
            self.read_body(environ)
            return whole(self._application(environ, start_response))
        except bodies.TurnedAway as refused:
            return respond(start_response, refused.status, refused.body, refused.headers)

    def serve(self, attempt: Attempt, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request that shows a credential, unless its address guesses. Raises TurnedAway."""
        if attempt.token is None:
            # Few sign-ins are checked at once, and one that never arrives must not be among them.
            self.read_body(environ)
        if seconds := self._throttle.begin(attempt):
            body, headers = refusal(attempt, seconds)
            return respond(start_response, HTTPStatus.TOO_MANY_REQUESTS, body, headers)

        def start_and_record(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            challenge = next((value for name, value in headers if name == "WWW-Authenticate"), "")
            self._throttle.record(attempt, int(status.split(" ", 1)[0]), challenge=challenge)
            return start_response(status, headers, *rest)

        try:
            if attempt.token is not None:
                self.read_body(environ)
            return whole(self._application(environ, start_and_record))
        finally:
            self._throttle.end(attempt)

    def read_body(self, environ: Environ) -> None:
        """Read the whole body, so that Django finds it in memory. Raises TurnedAway."""
        length, limit = environ.get("CONTENT_LENGTH") or "", bodies.limit_of(environ["PATH_INFO"])
        if not length.strip("0") and "HTTP_TRANSFER_ENCODING" not in environ:
            return
        bodies.check_length(length, limit=limit, most=_READ_BYTES)
        body = self.read_within_limits(environ["wsgi.input"])
        if len(body) > limit:
            raise bodies.too_large(limit)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))

    def read_within_limits(self, source: Any) -> bytes:
        """Read to the end in another thread, since the server's read waits without end. Raises TurnedAway."""
        reading = self._readers.start(lambda: source.read(_READ_BYTES))
        if reading is None:
            raise bodies.too_many()
        waited, has_ended = _MOMENT_SECONDS, reading.wait(_MOMENT_SECONDS)
        if not has_ended and self._slow_bodies.acquire(blocking=False):
            waited, has_ended = bodies.BODY_SECONDS, reading.wait(bodies.BODY_SECONDS - _MOMENT_SECONDS)
            self._slow_bodies.release()
        if not has_ended:
            raise bodies.too_slow(waited)
        if reading.body is None:
            raise bodies.incomplete()
        return reading.body


def whole(answer: Iterable[bytes]) -> Iterable[bytes]:
    """Return the answer in one piece if it is known, since a server takes long to ask for one piece after the other."""
    if not isinstance(answer, HttpResponse):
        return answer
    content = answer.content
    # As the server does once it has sent the last piece; after an error of the database this looks at the connection.
    answer.close()
    return [content]


def with_headers(start_response: StartResponse, more: Mapping[str, str]) -> StartResponse:
    """Return a start_response that adds headers to those of the answer."""

    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        return start_response(status, [*headers, *more.items()], *rest)

    return start


def look_behind_proxies(environ: Environ) -> None:
    """Set the client's address, the prefix and the path behind it, and drop what nobody trusted says of the request."""
    peer = environ.get("REMOTE_ADDR", "")
    if not proxies.is_trusted(peer, passed=0):
        environ.pop("HTTP_X_FORWARDED_PROTO", None)
        environ.pop("HTTP_X_FORWARDED_PREFIX", None)
    environ["REMOTE_ADDR"] = proxies.client_address(peer, environ.get("HTTP_X_FORWARDED_FOR"))
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = proxies.prefix_and_path(
        environ.get("PATH_INFO", ""),
        forwarded_prefix=environ.get("HTTP_X_FORWARDED_PREFIX", ""),
        server_prefix=environ.get("SCRIPT_NAME", ""),
    )


def respond(start_response: StartResponse, status: HTTPStatus, body: bytes, headers: Any) -> list[bytes]:
    """Start a whole response and return its body."""
    start_response(f"{status.value} {status.phrase}", [*headers.items(), ("Content-Length", str(len(body)))])
    return [body]
