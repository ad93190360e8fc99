"""The calls to a server's API, their repetition, and what its errors mean."""

import ipaddress
import json
import re
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import httpx

from slipway.answers.check import Shape, difference
from slipway.errors import CommandFailed, ExitCode
from slipway.profiles import Server

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.5
_LONGEST_RETRY_AFTER_SECONDS = 10
_REPEATED = (429, 503)
_SECONDS = re.compile("[0-9]{1,9}")
_MAX_ANSWER_BYTES = 64 * 2**20
_PAGE = 500
# The longest list that is read whole.
MOST_ROWS = 100_000
# The server sends something every 15 seconds.
STREAM_SILENCE_SECONDS = 45.0
_EXIT_CODES = {
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.REFUSED,
    410: ExitCode.REFUSED,
    412: ExitCode.REFUSED,
    429: ExitCode.UNAVAILABLE,
}
Query = Mapping[str, Any]


class Client:
    """Calls one server with one key. Paths are below its address, which may have a path of its own.

    `options` are the names under which the user knows fields of the API. Refusals of those name them so.
    """

    def __init__(
        self, server: Server, *, timeout_seconds: float = 30.0, options: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._options = options
        self.url = server.url.rstrip("/")
        try:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise CommandFailed(f"{self.url} is not an http or https address.", ExitCode.WRONG_ARGUMENT)
            self._http = httpx.Client(
                base_url=self.url,
                headers={
                    "Authorization": f"Bearer {server.key}",
                    "Accept": "application/json",
                    "User-Agent": "slipway",
                },
                timeout=httpx.Timeout(timeout_seconds, connect=10.0),
                # A proxy can't reach this machine's own loopback.
                trust_env=not is_loopback(parts.hostname),
                verify=trusted_certificates(is_needed=parts.scheme == "https"),
            )
            # As Python does it to look up the host.
            self._http.base_url.raw_host.decode().encode("idna")
        except (ValueError, httpx.InvalidURL) as error:
            raise CommandFailed(f"{self.url} can't be called: {error}", ExitCode.WRONG_ARGUMENT) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, *, shape: Shape, **query: Any) -> Any:
        """Return the JSON of a GET. Raises CommandFailed, also if it doesn't have the shape."""
        return self.send("GET", path, shape=shape, query=query)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        shape: Shape,
        query: Query | None = None,
        keyed: bool = False,
    ) -> Any:
        """Return the JSON of any call. Raises CommandFailed, also for another shape. The rest is as in `answer`."""
        return self.answer(method, path, body, query=query, keyed=keyed).json(shape)

    def answer(
        self, method: str, path: str, body: Any = None, *, query: Query | None = None, keyed: bool = False
    ) -> "Answer":
        """Return the answer to a call that succeeded. Raises CommandFailed.

        `keyed`: the server does this call once for each Idempotency-Key. Only such a call, a GET and a DELETE are
        repeated if their answer was lost, since the server may have done what was asked. A repeated DELETE that finds
        nothing has done its work.
        """
        headers = {"Idempotency-Key": str(uuid.uuid4())} if keyed else {}
        request = self.request(method, path, query, json=body, headers=headers)
        is_repeatable = keyed or method in ("GET", "DELETE")
        attempt, is_lost = 1, False
        while True:
            try:
                return self.once(request)
            except TryAgain as error:
                is_lost = is_lost or error.is_lost
                if attempt == _ATTEMPTS or (is_lost and not is_repeatable):
                    raise
                time.sleep(_PAUSE_SECONDS * attempt if error.seconds is None else error.seconds)
            except CommandFailed as error:
                if is_lost and method == "DELETE" and not keyed and error.status == httpx.codes.NOT_FOUND:
                    return Answer(url=str(request.url), content=b'{"status": "deleted"}', next_url="")
                raise
            attempt += 1

    def request(self, method: str, path: str, query: Query | None, **more: Any) -> httpx.Request:
        """Return a request. Raises CommandFailed for a text that can't be sent or is too long (`unsendable`)."""
        check_path(path)
        try:
            return self._http.build_request(method, path, params=without_none(query or {}), **more)
        except (ValueError, httpx.InvalidURL) as error:
            raise unsendable(error) from error

    def once(self, request: httpx.Request) -> "Answer":
        """Send a request once. Raises CommandFailed, and TryAgain if repeating it may help."""
        try:
            response = self._http.send(request, stream=True)
            with closing(response):
                if not response.is_success:
                    raise refusal(response, self._options)
                following = response.links.get("next", {}).get("url", "")
                return Answer(url=str(request.url), content=read_bounded(response), next_url=following)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TryAgain(self.unreachable(error)) from error
        except httpx.RequestError as error:
            raise TryAgain(self.unreachable(error), is_lost=True) from error

    def pages(
        self, path: str, query: Query | None = None, *, shape: Shape, most: int = MOST_ROWS
    ) -> list[dict[str, Any]]:
        """Return up to `most` rows of a list, page by page. `shape` is that of a row. Raises CommandFailed."""
        query = query or {}
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(rows) < most:
            size = min(_PAGE, most - len(rows))
            answer = self.answer("GET", path, query={**query, "limit": size, "cursor": cursor})
            page = answer.json([shape])
            rows += page
            cursor = answer.cursor()
            if cursor is None or not page:
                break
        return rows

    @contextmanager
    def stream(self, path: str, *, accept: str, query: Query | None = None, **headers: str) -> Iterator[httpx.Response]:
        """Open an answer that goes on. Raises CommandFailed if it is refused, httpx.RequestError if it breaks off."""
        timeout = httpx.Timeout(STREAM_SILENCE_SECONDS, connect=10.0)
        request = self.request("GET", path, query, headers={"Accept": accept, **headers}, timeout=timeout)
        with closing(self._http.send(request, stream=True)) as response:
            if not response.is_success:
                raise refusal(response, self._options)
            yield response

    def unreachable(self, error: Exception) -> CommandFailed:
        """Return the error for a server that gave no answer."""
        # A LocalProtocolError shows the header that it is about, which may be the key's.
        text = "" if isinstance(error, httpx.LocalProtocolError) else str(error)
        return CommandFailed(f"{self.url} can't be reached: {text or type(error).__name__}", ExitCode.UNAVAILABLE)


class TryAgain(CommandFailed):
    """The server gave no answer, or said when to try again: after `seconds`, None if it did not say.

    `is_lost`: it may have done what was asked, and only its answer was lost.
    """

    def __init__(self, failure: CommandFailed, *, seconds: float | None = None, is_lost: bool = False) -> None:
        super().__init__(str(failure), failure.exit_code, status=failure.status)
        self.seconds, self.is_lost = seconds, is_lost


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server answered to a call that succeeded."""

    url: str
    content: bytes
    next_url: str

    def json(self, shape: Shape) -> Any:
        """Return the JSON of the answer. Raises CommandFailed for anything else, and for JSON of another shape."""
        return parsed(self.content, shape, url=self.url)

    def cursor(self) -> str | None:
        """Return what the next page is asked for with, None if this is the last. Raises CommandFailed.

        The address itself is not followed: it is the one that the server has behind a proxy.
        """
        try:
            return next(iter(parse_qs(urlsplit(self.next_url).query).get("cursor", [])), None)
        except ValueError as error:
            raise unexpected(self.url, f"links to {self.next_url}") from error


def parsed(content: str | bytes, shape: Shape, *, url: str) -> Any:
    """Return the JSON that was read from an address. Raises CommandFailed for anything else or of another shape."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise unexpected(url, "answers no JSON") from error
    if why := difference(value, shape):
        raise unexpected(url, f"answers something else: answer{why}")
    return value


def unexpected(url: str, what: str) -> CommandFailed:
    """Return the error for what no Slipway server sends."""
    return CommandFailed(f"{url} {what}. Is this the address of a Slipway server?", ExitCode.UNAVAILABLE)


def refusal(response: httpx.Response, options: Mapping[str, str]) -> CommandFailed:
    """Return the error for an answer that is no success, with the server's own sentence."""
    status, url = response.status_code, response.request.url
    sentence = f"{url} answered {status} {response.reason_phrase}."
    try:
        said = json.loads(read_bounded(response))
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict) and said.get("error"):
        sentence = in_options(str(said["error"]), said.get("fields"), options)
    if status == httpx.codes.UNAUTHORIZED:
        sentence += " Sign in with `slipway login`."
    unusual = ExitCode.UNAVAILABLE if status >= 500 or response.is_redirect else ExitCode.WRONG_ARGUMENT
    failure = CommandFailed(sentence, _EXIT_CODES.get(status, unusual), status=status)
    wait = response.headers.get("Retry-After", "")
    if status in _REPEATED and _SECONDS.fullmatch(wait) and int(wait) <= _LONGEST_RETRY_AFTER_SECONDS:
        return TryAgain(failure, seconds=int(wait))
    return failure


def in_options(sentence: str, fields: Any, options: Mapping[str, str]) -> str:
    """Return a server's sentence with the user's options in place of the fields that begin its reasons."""
    for field in fields if isinstance(fields, dict) else ():
        name, _, place = str(field).partition(".")
        if name in options:
            shown = options[name] if not place or place.isdigit() else f"{options[name]} {place}"
            sentence = sentence.replace(f"{field}: ", f"{shown}: ", 1)
    return sentence


def read_bounded(response: httpx.Response) -> bytes:
    """Return the body of an answer. Raises CommandFailed for one that is too large."""
    content = bytearray()
    for part in response.iter_bytes():
        content += part
        if len(content) > _MAX_ANSWER_BYTES:
            limit = _MAX_ANSWER_BYTES // 2**20
            raise CommandFailed(f"{response.request.url} answers with more than {limit} MiB.", ExitCode.UNAVAILABLE)
    return bytes(content)


def quoted(name: str) -> str:
    """Return a name as it stands in a path. Raises CommandFailed for one that is no text."""
    try:
        return quote(name, safe="")
    except ValueError as error:
        raise unsendable(error) from error


def unsendable(error: Exception) -> CommandFailed:
    """Return the error for what no request can have, such as half a surrogate pair."""
    return CommandFailed(f"This can't be sent: {error}", ExitCode.WRONG_ARGUMENT)


def check_path(path: str) -> None:
    """Raise CommandFailed for a path with a name that would lead elsewhere, such as of a secret named `..`.

    Quoting leaves dots as they are, and httpx resolves them: the call would be about what is above. A quoted slash is
    one for the server: the call would be about what is below.
    """
    for name in map(unquote, path.split("/")):
        if name in {".", ".."} or "/" in name:
            raise CommandFailed(f"Nothing is named {name!r}.", ExitCode.NOT_FOUND)


def trusted_certificates(*, is_needed: bool) -> ssl.SSLContext:
    """Return what a server's certificate is checked with: SSL_CERT_FILE, SSL_CERT_DIR, or the usual authorities.

    Those variables are left alone for a server without one. Raises CommandFailed if they can't be read.
    """
    try:
        return httpx.create_ssl_context(trust_env=is_needed)
    except OSError as error:
        why = f"The certificates that SSL_CERT_FILE or SSL_CERT_DIR names can't be read: {error}"
        raise CommandFailed(why, ExitCode.WRONG_ARGUMENT) from error


def without_none(query: Query) -> dict[str, Any]:
    """Return the parameters that have a value."""
    return {name: value for name, value in query.items() if value not in (None, "", [])}


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
