"""Log lines: time, level, logger and the constant message, then the record's fields as key=value."""

import json
import logging
import math
import time

from config.broker import broker_error

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class FieldsFormatter(logging.Formatter):
    """Append the fields that were passed as `extra=` to the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the standard library's name)
        fields = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        tail = "".join(f" {key}={json.dumps(value, default=str)}" for key, value in fields.items())
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
