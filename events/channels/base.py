"""What a kind of channel is, and what passes between it and the delivery."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from django import forms

from events.envelope import LoggedEvent

RESPONSE_BYTES = 1024


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event as a channel sends it; equal at every attempt."""

    # The idempotency key: the event's id, or that of a test.
    id: str
    event: LoggedEvent


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the receiver answered to a message that it took."""

    answer: str
    response: str = ""


class SendFailed(Exception):
    """The receiver did not take the message; its text says why, and holds no secret."""

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
        # The same message would fail again, whenever it is sent.
        self.is_permanent = is_permanent
        # The receiver wants nothing any more.
        self.is_gone = is_gone
        # The receiver asked to be left alone for so long.
        self.retry_after = retry_after
        self.answer = answer
        self.response = response


class Sender(Protocol):
    """An open connection to one receiver; used by several threads at a time."""

    def send(self, messages: Sequence[Message]) -> Receipt:
        """Send one message, or several equal ones as one. Raises SendFailed; ends within the channel's time limit."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class KindForm(forms.Form):
    """What a kind needs to know. Each field's name is an option's; what it is cleaned to is stored, as JSON."""

    # Options that are encrypted at rest and never shown again; left empty, the present value stays.
    sealed: tuple[str, ...] = ()

    # The stored options of a channel that is changed.
    present: Mapping[str, Any] = {}

    @classmethod
    def declared_names(cls) -> list[str]:
        """Return the names of the kind's own options."""
        return list(cls.base_fields)


class Kind(Protocol):
    """A kind of channel: a module of this package offers one, and registry.py lists it."""

    name: str
    label: str
    # Many equal messages go out as one, with a count.
    is_grouped: bool
    # Its messages go out one after the other, whatever workspace they are of.
    is_sequential: bool

    @property
    def form(self) -> type[KindForm]:
        """What the kind needs to know."""
        ...

    def initial_options(self) -> dict[str, Any]:
        """Return sealed options that a new channel gets without being asked."""
        ...

    def open(self, options: Mapping[str, Any], *, timeout_seconds: float) -> Sender:
        """Return a sender with these options, sealed ones included. Raises SendFailed where they can't be used."""
        ...
