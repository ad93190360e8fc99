"""The log: one line of JSON an event, on the delivering process's own output, for whatever collects that."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget

from events.channels.base import KindForm, Message, Receipt
from events.envelope import envelope

logger = logging.getLogger(__name__)

_LEVELS = ["INFO", "WARNING", "ERROR"]


class LogForm(KindForm):
    """How loud it is."""

    level = forms.ChoiceField(
        choices=[(level, level) for level in _LEVELS],
        initial=_LEVELS[0],
        widget=UnfoldAdminSelectWidget,
        help_text="Lines below LOG_LEVEL are not written.",
    )


class LogKind:
    name = "log"
    label = "Log"
    form = LogForm
    is_grouped = False
    is_sequential = True

    def initial_options(self) -> dict[str, Any]:
        return {}

    def open(self, options: Mapping[str, Any], *, timeout_seconds: float) -> "LogSender":
        return LogSender(level=logging.getLevelNamesMapping()[options["level"]])


KIND = LogKind()


class LogSender:
    """Writes lines."""

    def __init__(self, *, level: int) -> None:
        self._level = level

    def send(self, messages: Sequence[Message]) -> Receipt:
        (message,) = messages
        level = logging.getLevelName(self._level)
        line = {"id": message.id, "level": level, **envelope(message.event), "subject": dict(message.event.subject)}
        logger.log(self._level, "%s", json.dumps(line, ensure_ascii=False, separators=(",", ":")))
        return Receipt(answer="written")

    def close(self) -> None:
        pass
