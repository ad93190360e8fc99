"""The one place where what a receiver says is masked: it may repeat what it was sent, or that with which we log in."""

import base64
import binascii
import logging
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from events.channels.base import Kind, Message, Receipt, SendFailed
from events.masking.configured_secrets import configured_secrets
from events.masking.masker import WINDOW_CHARACTERS, Masker

logger = logging.getLogger(__name__)

# A shorter word of a URL or a header, such as `hooks` or `Bearer`, says nothing by itself.
_MIN_PART_CHARACTERS = 8
_SIGNING_PREFIX = "whsec_"
# These say what a message is, and hold no credential.
_PLAIN_HEADERS = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "user-agent"})
# A word of a web address, such as `webhooks`. A longer one may be random.
_PATH_WORD = re.compile(r"[a-z]{1,15}")
# How much of the reason for a failure is kept.
_REASON_CHARACTERS = 1000


class MaskingSender:
    """A kind's sender, without the channel's secrets in its receipts and failures.

    `sealed` are those of the options that are encrypted at rest: these are the channel's secrets.
    """

    def __init__(
        self, kind: Kind, options: Mapping[str, Any], *, sealed: Mapping[str, Any], name: str, timeout_seconds: float
    ) -> None:
        """Open the sender. `name` is the channel's, for the log. Raises SendFailed."""
        self._name = name
        self._masker = Masker([*secrets_in(sealed), *configured_secrets()])
        with self._masking():
            self._sender = kind.sender(options, timeout_seconds=timeout_seconds)

    def send(self, messages: Sequence[Message]) -> Receipt:
        """Send one message, or several as one. Raises SendFailed, also for an error that nobody expected."""
        with self._masking():
            receipt = self._sender.send(messages)
            answer, response = self._kept([receipt.answer, receipt.response])
            return Receipt(answer=answer, response=response)

    def close(self) -> None:
        """Free the connections that the sender holds."""
        self._sender.close()

    def _kept(self, texts: list[str]) -> list[str]:
        """Return the texts masked, and without half surrogate pairs, which the database refuses."""
        masked = self._masker.mask_all([text[:WINDOW_CHARACTERS] for text in texts])
        return [text.encode(errors="replace").decode() for text in masked]

    @contextmanager
    def _masking(self) -> Iterator[None]:
        try:
            yield
        except SendFailed as error:
            reason, answer, response = self._kept([str(error), error.answer, error.response])
            raise SendFailed(
                reason[:_REASON_CHARACTERS],
                is_permanent=error.is_permanent,
                is_gone=error.is_gone,
                retry_after=error.retry_after,
                answer=answer,
                response=response,
            ) from None
        except Exception as error:  # noqa: BLE001 (logged here, masked)
            # A bug that one receiver triggers must not stop the messages after it. The text of the traceback instead of
            # the error, since the log knows no channel's secrets.
            text = self._masker.mask("".join(traceback.format_exception(error)))
            logger.error("A message could not be sent\n%s", text, extra={"channel": self._name})  # noqa: TRY400
            raise SendFailed(f"Slipway could not send the message: {type(error).__name__}.") from None


def secrets_in(sealed: Any) -> Iterator[str]:
    """Yield the texts in encrypted options, and the parts of URLs and headers that are secret by themselves."""
    if isinstance(sealed, Mapping):
        for name, item in sealed.items():
            if name.lower() not in _PLAIN_HEADERS:
                yield from secrets_in(item)
    elif isinstance(sealed, list):
        for item in sealed:
            yield from secrets_in(item)
    elif isinstance(sealed, str):
        yield sealed
        parts = parts_of_url(sealed) if "://" in sealed else parts_of_header(sealed)
        yield from (part for part in parts if len(part) >= _MIN_PART_CHARACTERS)


def parts_of_url(url: str) -> Iterator[str]:
    """Yield what may be a token in a URL: the user, the password, words of the path, values of the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    user_info, _, place = parts.netloc.rpartition("@")
    words = parts.path.split("/")
    # Apprise's URLs have tokens and names of rooms in their paths.
    if parts.scheme in ("http", "https"):
        words = [word for word in words if not _PATH_WORD.fullmatch(word)]
    for part in (*user_info.split(":"), *words, parts.fragment):
        yield from (part, unquote(part))
    yield from (value for _, value in parse_qsl(parts.query))
    # Apprise's URLs of services have tokens in place of a host.
    host = place.partition(":")[0]
    if "." not in host and host != "localhost" and not place.startswith("["):
        yield from (place, host)


def parts_of_header(value: str) -> Iterator[str]:
    """Yield the words of a header's value, and what is secret in `Basic dXNlcjpwYXNz` and `whsec_…`."""
    for word in value.split():
        yield from (word, word.removeprefix(_SIGNING_PREFIX))
        try:
            login = base64.b64decode(word, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        yield from (login, login.partition(":")[2])
