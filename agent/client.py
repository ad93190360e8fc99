"""HTTP to the platform: one small POST per connection, over a bare socket.

Importing http.client takes longer than everything an agent sends, which shows when 100 agents start at once.
"""

import json
import socket
import time
from typing import NamedTuple

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 262_144


class Unreachable(Exception):
    """The platform did not answer: it refused, cut off, was too slow, or did not speak HTTP. The message says which."""


class Answer(NamedTuple):
    """An answer's status and the fields of its body; no fields if the body is not a JSON object."""

    status: int
    fields: dict[str, object]


class Address(NamedTuple):
    """Where the platform listens."""

    secure: bool
    host: str
    port: int
    path: str


def address_of(url: str) -> Address:
    """Return the parts of an http or https URL. Raises ValueError for any other text."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise ValueError(f"{url} is not an http or https address")
    place, slash, path = rest.partition("/")
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    secure = scheme.lower() == "https"
    return Address(secure, host, int(port) if port else (443 if secure else 80), (slash + path).rstrip("/"))


def post(address: Address, path: str, body: object, *, token: str) -> Answer:
    """Send the body as JSON and return the answer within 10 seconds. Raises Unreachable."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        with _connected(address, deadline) as connection:
            connection.sendall(_request(address, path, json.dumps(body).encode(), token))
            return _parsed(_received(connection, deadline))
    except (OSError, ValueError) as error:
        raise Unreachable(str(error) or type(error).__name__) from error


def _connected(address: Address, deadline: float) -> socket.socket:
    connection = socket.create_connection((address.host, address.port), timeout=_left(deadline))
    if not address.secure:
        return connection
    # Imported only when needed: it takes a third of an agent's start.
    import ssl

    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=address.host)
    except BaseException:
        connection.close()
        raise


def _request(address: Address, path: str, payload: bytes, token: str) -> bytes:
    host = f"[{address.host}]" if ":" in address.host else address.host
    head = [
        f"POST {address.path}{path} HTTP/1.1",
        f"Host: {host}:{address.port}",
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(payload)}",
        "Connection: close",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + payload


def _received(connection: socket.socket, deadline: float) -> bytes:
    received = b""
    while True:
        connection.settimeout(_left(deadline))
        chunk = connection.recv(65_536)
        received += chunk
        if len(received) > MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")
        head, separator, body = received.partition(b"\r\n\r\n")
        length = _header(head, b"content-length")
        is_complete = bool(separator) and length.isdigit() and len(body) >= int(length)
        if is_complete or not chunk:
            return received


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip().lower()
    return b""


def _parsed(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("the answer is not HTTP")
    if _header(head, b"transfer-encoding") == b"chunked":
        body = _unchunked(body)
    try:
        fields = json.loads(body)
    except ValueError:
        fields = {}
    return Answer(int(words[1]), fields if isinstance(fields, dict) else {})


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        if length == 0:
            break
        whole, body = whole + rest[:length], rest[length + 2 :]
    return whole
