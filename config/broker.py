"""Tells Redis' being away, which heals with time, from a mistake."""

import kombu.exceptions
import redis.exceptions

BROKER_ERRORS = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, kombu.exceptions.OperationalError)


def broker_error(error: BaseException | None) -> BaseException | None:
    """Return the broker's own error where it is this one or led to it; else None."""
    while error is not None and not isinstance(error, BROKER_ERRORS):
        error = error.__cause__ or error.__context__
    return error
