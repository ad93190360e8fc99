"""Errors of the surroundings as one sentence each: a full disk, an absent server, a database without its tables."""

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
# Wrong password, unknown database, shutting down; without any code there was no answer at all.
_UNREACHABLE = {None, "28", "3D", "57"}


@contextmanager
def exit_with_message() -> Iterator[None]:
    """Turn an error of the surroundings into its sentence and exit code 1; let all others rise."""
    try:
        yield
    except Exception as error:
        sentence = message_for(error)
        if sentence is None or "--traceback" in sys.argv:
            raise
        sys.exit(sentence)


def message_for(error: Exception) -> str | None:
    """Return the sentence for an error of the surroundings, None for one that is a mistake in the code."""
    match error:
        case LocalSetupError() | ServerError() | ImproperlyConfigured():
            return str(error)
        case DatabaseError():
            return _servers_complaint() or _explain_database(error)
        case error if isinstance(error, BROKER_ERRORS):
            return _servers_complaint() or f"Redis can't be reached: {_first_line(error)}. Check REDIS_URL."
        case OSError():
            return _explain_system(error)
    return None


def _explain_system(error: OSError) -> str | None:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return full_disk_message(error.filename or os.environ.get("DATA_DIR", "the data folder"))
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename}: {error.strerror}. Set DATA_DIR to a folder of your own."
    return None


def _servers_complaint() -> str | None:
    # A server of our own knows better than its client why it went away.
    machine = local_environment.local_servers
    complaints = (server.current_error() for server in (machine.servers if machine else ()))
    return next((str(complaint) for complaint in complaints if complaint), None)


def _explain_database(error: DatabaseError) -> str | None:
    cause = error.__cause__
    if isinstance(cause, psycopg.errors.DiskFull):
        return full_disk_message("the database")
    if isinstance(cause, _UNKNOWN_NAMES):
        return NOT_MIGRATED if _lacks_migrations() else None
    if isinstance(cause, psycopg.OperationalError) and (cause.sqlstate and cause.sqlstate[:2]) in _UNREACHABLE:
        return f"The database can't be reached: {_first_line(cause)}. Check DATABASE_URL."
    return None


def _lacks_migrations() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
