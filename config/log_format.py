"""Log lines: time, level, logger and the constant message, then the record's fields as key=value."""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from config.broker import broker_error

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields that were passed as `extra=`."""
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


class FieldsFormatter(logging.Formatter):
    """Append the fields that were passed as `extra=` to the message, and mask what is secret in a traceback.

    `masked_traceback` is set once the apps are loaded, because it reads secrets.
    """

    masked_traceback: ClassVar[Callable[[Any, Mapping[str, Any]], str] | None] = None

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback if there is one."""
        if record.exc_info and record.exc_info[0] and FieldsFormatter.masked_traceback:
            # Kept on the record, where a text that another handler made would be taken instead.
            record.exc_text = FieldsFormatter.masked_traceback(record.exc_info, fields_of(record))
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the standard library's name)
        tail = "".join(f" {key}={json.dumps(value, default=str)}" for key, value in fields_of(record).items())
        return super().formatMessage(record) + tail


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
