"""Postgres' advisory locks by name: what may happen in one transaction at a time."""

from enum import IntEnum

from django.db import connection


class AdvisoryLock(IntEnum):
    """The numbers are fixed: processes of two releases must exclude each other during an upgrade."""

    # One sweep decides at a time which late launches to hold.
    MASS_LATENESS = 7_301_001
    # One process at a time records an outage.
    OUTAGES = 7_301_002
    # One launch of a backend is admitted at a time; the backend is the lock's `key`.
    LAUNCH_QUEUE = 7_301_003
    # One change of secrets at a time decides what changes for whom. Take it before any workspace's lock. Each INSERT of
    # a workspace shares it (workspaces_wait_for_secrets.sql).
    SECRETS = 7_301_004


def lock_until_commit(lock: AdvisoryLock, *, key: str | None = None) -> None:
    """Wait for the lock and hold it until the transaction ends. With a `key`, only callers with equal keys wait."""
    with connection.cursor() as cursor:
        if key is None:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock.value])
        else:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [lock.value, key])


def share_until_commit(lock: AdvisoryLock) -> None:
    """Do what `lock_until_commit` does, but don't exclude others that share the lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock.value])
