"""Turns errors of the environment into messages: a full disk, an unreachable server, a database without migrations."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from config.broker import BROKER_ERRORS
from devserver import local_environment
from devserver.local_environment import LocalSetupError
from devserver.servers.embedded import ServerError, full_disk_message

NOT_MIGRATED = "The database is not migrated: run `manage.py migrate` or `make up`."
_UNKNOWN_NAMES = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedObject)
# SQLSTATE classes of a wrong password, an unknown database and a shutdown; None if the server did not answer.
_UNREACHABLE = {None, "28", "3D", "57"}


@contextmanager
def exit_with_message() -> Iterator[None]:
    """Print an error of the environment as a message and exit with code 1; let other errors rise."""
    try:
        yield
    except Exception as error:
        message = message_for(error)
        if message is None or "--traceback" in sys.argv:
            raise
        sys.exit(message)


def message_for(error: Exception) -> str | None:
    """Return the message for an error of the environment, or None for a mistake in the code."""
    match error:
        case LocalSetupError() | ServerError() | ImproperlyConfigured():
            return str(error)
        case DatabaseError():
            return _error_of_our_servers() or _message_for_database(error)
        case error if isinstance(error, BROKER_ERRORS):
            return _error_of_our_servers() or f"Redis can't be reached: {_first_line(error)}. Check REDIS_URL."
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return full_disk_message(error.filename or os.environ.get("DATA_DIR", "the data folder"))
        case PermissionError() | OSError(errno=errno.ENAMETOOLONG) if error.filename:
            return f"{error.filename}: {error.strerror}. Set DATA_DIR to a folder of your own."
    return None


def _error_of_our_servers() -> str | None:
    # The log of an embedded server says more than the error of its client.
    servers = local_environment.local_servers.servers if local_environment.local_servers else []
    errors = (server.current_error() for server in servers)
    return next((str(error) for error in errors if error), None)


def _message_for_database(error: DatabaseError) -> str | None:
    cause = error.__cause__
    if isinstance(cause, psycopg.errors.DiskFull):
        return full_disk_message("the database")
    if isinstance(cause, _UNKNOWN_NAMES):
        executor = MigrationExecutor(connection)
        return NOT_MIGRATED if executor.migration_plan(executor.loader.graph.leaf_nodes()) else None
    if isinstance(cause, psycopg.OperationalError) and (cause.sqlstate and cause.sqlstate[:2]) in _UNREACHABLE:
        return f"The database can't be reached: {_first_line(cause)}. Check DATABASE_URL."
    return None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
