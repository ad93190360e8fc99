"""Distinguishes an outage of Postgres, which ends by itself, from a bug, which must not be hidden."""

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

# Psycopg counts these among the internal errors.
_REFUSED_FOR_NOW = (errors.ReadOnlySqlTransaction, errors.IdleInTransactionSessionTimeout)
_CONNECTION_LOST = ("08", "57P")
_NO_CONNECTION_IN_TIME = (PoolTimeout, errors.ConnectionTimeout)
_UNUSABLE = (*_NO_CONNECTION_IN_TIME, errors.TooManyConnections, errors.ReadOnlySqlTransaction, errors.DiskFull)


def is_outage(error: BaseException) -> bool:
    """Return whether Postgres can't be used for now, and not whether a table is missing or a statement wrong.

    That is a lost connection, a full disk, a server that only reads, or a lock that another transaction keeps.
    """
    cause = error.__cause__ or error
    return isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError, *_REFUSED_FOR_NOW))


def is_lock_timeout(error: BaseException) -> bool:
    """Return whether another transaction kept a row or table locked for longer than `lock_timeout`."""
    return isinstance(error.__cause__ or error, errors.LockNotAvailable)


def is_lost_connection(error: BaseException) -> bool:
    """Return whether the connection ended, so that a new one may do: not if none could be had in time."""
    cause = error.__cause__ or error
    if isinstance(cause, _NO_CONNECTION_IN_TIME):
        return False
    if isinstance(cause, psycopg.InterfaceError | errors.IdleInTransactionSessionTimeout):
        return True
    return isinstance(cause, psycopg.OperationalError) and (cause.sqlstate or "08").startswith(_CONNECTION_LOST)


def concerns_all(error: BaseException) -> bool:
    """Return whether any other statement would fail too: not if a row is locked, or one statement is too slow."""
    cause = error.__cause__ or error
    return is_lost_connection(error) or isinstance(cause, _UNUSABLE)
