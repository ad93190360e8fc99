"""The entry of a WSGI process, around Django."""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from config.entry.guesses import GuessThrottle, attempt_of, refusal

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class WsgiEntry:
    """Passes requests on to an application, unless their address guesses credentials."""

    def __init__(self, application: Callable[[Environ, StartResponse], Iterable[bytes]]) -> None:
        self._application = application
        self._throttle = GuessThrottle()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        attempt = attempt_of(
            method=environ["REQUEST_METHOD"],
            path=environ.get("PATH_INFO", ""),
            authorization=environ.get("HTTP_AUTHORIZATION", "").encode("latin-1"),
            address=environ.get("REMOTE_ADDR", ""),
        )
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


def respond(start_response: StartResponse, status: HTTPStatus, body: bytes, headers: Any) -> list[bytes]:
    """Start a whole response and return its body."""
    start_response(f"{status.value} {status.phrase}", [*headers.items(), ("Content-Length", str(len(body)))])
    return [body]
