"""One line a record: time, level, logger, the constant message, then its fields as key=value."""

import json
import logging

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class FieldsFormatter(logging.Formatter):
    """Append what was passed as `extra=` to the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (the standard library's name)
        fields = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        tail = "".join(f" {key}={json.dumps(value, default=str)}" for key, value in fields.items())
        return super().formatMessage(record) + tail
