"""Log lines: time, level, logger and the constant message, then the record's fields as key=value."""

import json
import logging
import math
import re
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar
from uuid import UUID

from config.broker import broker_error
from events.masking.configured_secrets import configured_secrets
from events.masking.masker import WINDOW_CHARACTERS, Masker

# The messages of our own loggers are constants. Libraries put values, such as errors, into theirs.
OUR_PACKAGES = frozenset(
    {"config", "devserver", "events", "monitoring", "postgres", "registry", "status_drift", "workspaces"}
)
_LEFT_OUT = "(left out)"
_LINE = "masked_line"
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", _LINE}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that were passed as `extra=`."""
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


def is_plain(value: Any) -> bool:
    """Return whether a field can hold no secret: an ID or a number. 32 hexadecimal digits may be a key."""
    return isinstance(value, int | float | UUID | None) or (isinstance(value, str) and bool(_UUID.fullmatch(value)))


class FieldsFormatter(logging.Formatter):
    """Append the fields that were passed as `extra=` to the message, and mask what is secret in the line.

    Masked are warnings, errors and tracebacks: what failed may repeat a secret. Other lines hold names and numbers.
    `mask` is set once the apps are loaded, because it reads secrets; it raises if it can't read them. It may wait for
    the database, so a handler needs the filter `MaskBeforeLock`.
    """

    mask: ClassVar[Callable[[str], str] | None] = None

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line that MaskBeforeLock has stored, or make it."""
        return record.__dict__.get(_LINE) or self.masked_line(record)

    def masked_line(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback if there is one."""
        line = super().format(record)
        if FieldsFormatter.mask is None or (record.levelno < logging.WARNING and not record.exc_info):
            return line
        try:
            return FieldsFormatter.mask(line)
        except Exception:  # noqa: BLE001 (whatever keeps the secrets from being read, a line must be written)
            return self.without_texts(record)

    def without_texts(self, record: logging.LogRecord) -> str:
        """Return what can hold no secret: our message without its values, IDs, numbers, and a traceback's frames.

        Should it hold one of Slipway's own secrets or a credential after all, that is masked without the database.
        """
        fields = fields_of(record)
        fields |= {key: _LEFT_OUT for key, value in fields.items() if key != "reference" and not is_plain(value)}
        is_ours = record.name.partition(".")[0] in OUR_PACKAGES and isinstance(record.msg, str)
        constant = {"msg": record.msg if is_ours else _LEFT_OUT, "args": (), "exc_info": None, "exc_text": None}
        line = super().format(logging.makeLogRecord({**record.__dict__, **constant, **fields}))
        if record.exc_info and record.exc_info[0]:
            kind, _, frames = record.exc_info
            left_out = f"{kind.__name__} (its text is left out, since the secrets in it can't be masked now)"
            line = "".join([line, "\n", *traceback.format_tb(frames), left_out])
        return Masker(configured_secrets()).mask(line[-WINDOW_CHARACTERS:])

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the standard library's name)
        tail = "".join(f" {key}={json.dumps(value, default=str)}" for key, value in fields_of(record).items())
        return super().formatMessage(record) + tail


class MaskBeforeLock(logging.Filter):
    """Store the line on the record before the handler takes its lock to write it. It must be the handler's last filter.

    The formatter runs under that lock: while it waited for the database, every thread that logs would wait, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._formatter = FieldsFormatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True. What can't be formatted is left to the handler, so that no caller fails because it logs."""
        with suppress(Exception):
            setattr(record, _LINE, self._formatter.masked_line(record))
        return True


class BrokerOutages(logging.Filter):
    """Replace Celery's records about an unreachable Redis by one line every 30 seconds.

    Otherwise beat logs a traceback for each task that is due.
    """

    EVERY_SECONDS = 30.0

    def __init__(self) -> None:
        super().__init__("celery")
        self._logged_at = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record; one about Redis is rewritten first."""
        if not super().filter(record):
            return True
        arguments = record.args if isinstance(record.args, tuple) else ()
        candidates = [record.exc_info[1] if record.exc_info else None, *arguments]
        errors = [broker_error(each) for each in candidates if isinstance(each, BaseException)]
        error = next(filter(None, errors), None)
        if error is None:
            return True
        if time.monotonic() - self._logged_at < self.EVERY_SECONDS:
            return False
        self._logged_at = time.monotonic()
        record.msg, record.args, record.exc_info = "Redis can't be reached; trying again.", (), None
        record.error = str(error)
        return True
