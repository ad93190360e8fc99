"""Writes each event to the delivering process's error output, as one line of JSON."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget

from events.channels.base import Kind, KindForm, Message, Receipt, Sender
from events.envelope import envelope

# config/settings.py gives this logger a handler that adds nothing to the line.
logger = logging.getLogger(__name__)

_LEVELS = ["INFO", "WARNING", "ERROR"]


class LogForm(KindForm):
    """The level of the lines."""

    level = forms.ChoiceField(
        choices=[(level, level) for level in _LEVELS],
        initial=_LEVELS[0],
        widget=UnfoldAdminSelectWidget,
        help_text="Lines below LOG_LEVEL are not written.",
    )


class LogSender(Sender):
    """Writes to the log: {id, level, subject} and the live envelope's keys."""

    def __init__(self, options: Mapping[str, Any], *, timeout_seconds: float) -> None:
        self._level = options["level"]

    def send(self, messages: Sequence[Message]) -> Receipt:
        (message,) = messages
        line = {
            "id": message.id,
            "level": self._level,
            **envelope(message.event),
            "subject": dict(message.event.subject),
        }
        level = logging.getLevelNamesMapping()[self._level]
        logger.log(level, "%s", json.dumps(line, ensure_ascii=False, separators=(",", ":")))
        return Receipt(answer="written")


LOG = Kind(name="log", label="Log", form=LogForm, sender=LogSender, is_sequential=True)
