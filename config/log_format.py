"""One line a record: time, level, logger, the constant message, then its fields as key=value."""

import json
import logging
import math
import time

from config.broker import broker_error

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class FieldsFormatter(logging.Formatter):
    """Append what was passed as `extra=` to the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the standard library's name)
        fields = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        tail = "".join(f" {key}={json.dumps(value, default=str)}" for key, value in fields.items())
        return super().formatMessage(record) + tail


class BrokerOutages(logging.Filter):
    """Makes one line a while of what Celery says of Redis' being away: beat has a traceback for each due task."""

    EVERY_SECONDS = 30.0

    def __init__(self) -> None:
        super().__init__("celery")
        self._said_at = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Let all else pass as it is."""
        error = _broker_error_of(record) if super().filter(record) else None
        if error is None:
            return True
        if time.monotonic() - self._said_at < self.EVERY_SECONDS:
            return False
        self._said_at = time.monotonic()
        record.msg, record.args, record.exc_info = "Redis can't be reached, and is tried again.", (), None
        record.error = str(error)
        return True


def _broker_error_of(record: logging.LogRecord) -> BaseException | None:
    arguments = record.args if isinstance(record.args, tuple) else ()
    told = [record.exc_info[1] if record.exc_info else None, *arguments]
    return next(filter(None, (broker_error(each) for each in told if isinstance(each, BaseException))), None)
