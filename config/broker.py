"""Distinguishes an unreachable Redis, which may come back, from other errors."""

import kombu.exceptions
import redis.exceptions

BROKER_ERRORS = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, kombu.exceptions.OperationalError)


def broker_error(error: BaseException | None) -> BaseException | None:
    """Return the broker's error if it is this one or one of its causes, else None."""
    while error is not None and not isinstance(error, BROKER_ERRORS):
        error = error.__cause__ or error.__context__
    return error
