"""The interface between a kind of channel and the delivery."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms

from events.envelope import LoggedEvent

# How much of a receiver's response is kept.
RESPONSE_BYTES = 1024
# Entered in place of a stored encrypted option, to store nothing.
NOTHING = "-"
# A receiver that asks for a longer pause counts as down.
LONGEST_RETRY_AFTER = timedelta(hours=12)


@dataclass(kw_only=True, slots=True)
class Message:
    """One event to send to a receiver. Every attempt sends the same content."""

    # The idempotency key: the event's ID, or `test-…` for a test message.
    id: str
    event: LoggedEvent


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """How the receiver confirmed a message.

    `answer` is a short summary such as "HTTP 200", `response` the beginning of what it sent back.
    """

    answer: str
    response: str = ""


class SendFailed(Exception):
    """The receiver did not accept a message. The text says why; events/delivery/masking_sender.py masks it.

    `is_permanent`: the same message would fail again, so it becomes a dead letter at once.
    `is_gone`: the receiver wants no more messages, so the channel is disabled.
    `retry_after`: the receiver asked for a pause; it applies to the whole channel, `LONGEST_RETRY_AFTER` at most.
    `answer` and `response`: as in `Receipt`.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_permanent: bool = False,
        is_gone: bool = False,
        retry_after: timedelta | None = None,
        answer: str = "",
        response: str = "",
    ) -> None:
        super().__init__(reason)
        self.is_permanent = is_permanent
        self.is_gone = is_gone
        self.retry_after = min(retry_after, LONGEST_RETRY_AFTER) if retry_after else None
        self.answer = answer
        self.response = response


class Sender(ABC):
    """Sends to one receiver. Several threads use one sender at the same time."""

    @abstractmethod
    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        """Prepare to send with these options, the encrypted ones decrypted.

        Each send has to end within `timeout_seconds`. Raises SendFailed if the options can't be used.
        """

    @abstractmethod
    def send(self, messages: Sequence[Message]) -> Receipt:
        """Send one message; a grouped kind may get several equal ones to send as one.

        Raises SendFailed.
        """

    def close(self) -> None:  # noqa: B027 (most senders hold nothing)
        """Free the connections it holds."""


class KindForm(forms.Form):
    """The admin's form for a kind's options: each field is an option.

    A cleaned value is stored as JSON under the field's name.
    """

    # Options that are encrypted at rest and never shown again. If one is left empty, its stored value stays.
    encrypted: tuple[str, ...] = ()

    # The option that holds the receiver's URL. Secrets belong to the origin that they were entered for: with another
    # one, the stored encrypted options have to be entered again and generated ones are made anew.
    address: str = ""

    # The options of the channel that is being changed, decrypted; empty for a new channel.
    stored: Mapping[str, Any] = {}

    @classmethod
    def option_names(cls) -> list[str]:
        """Return the names of the kind's own options."""
        return list(cls.base_fields)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of channel, listed in registry.py."""

    # Stored in `Channel.kind`; also the name of its folder and its page in docs/reference/channels.
    name: str
    label: str
    form: type[KindForm]
    sender: type[Sender]
    # Whether many equal messages are sent as one with a count: for channels that people read.
    is_grouped: bool = False
    # Whether messages are sent one at a time, even those of different workspaces.
    is_sequential: bool = False
    # Makes the encrypted options that a new channel gets besides those in the form.
    initial_options: Callable[[], dict[str, Any]] = dict
