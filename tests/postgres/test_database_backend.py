"""Slipway's Postgres engine reads timestamps as Django's does."""

from datetime import UTC

import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import register_tzloader

from postgres.backend.base import TimeLoader

pytestmark = pytest.mark.django_db
POINTS = [
    "2026-11-26 07:05:50.020344+00",
    "2026-11-26 07:05:50.02+00",
    "2026-11-26 07:05:50+05:30",
    "0001-01-02 00:00:00+00",
    "9999-12-30 23:59:59.999999+00",
]


def read(text, *, by_django):
    with connection.cursor() as cursor:
        if by_django:
            register_tzloader(UTC, cursor.cursor)
        cursor.execute("SELECT %s::timestamptz", [text])
        return cursor.fetchone()[0]


@pytest.mark.parametrize("text", POINTS)
def test_a_timestamp_is_read_as_django_reads_it(text):
    ours = read(text, by_django=False)
    assert repr(ours) == repr(read(text, by_django=True))
    assert ours.tzinfo is UTC


@pytest.mark.parametrize("text", ["infinity", "0044-03-15 12:00:00+00 BC"])
def test_a_timestamp_out_of_pythons_range_raises_psycopgs_error(text):
    with pytest.raises(Exception, match="timestamp") as ours:
        read(text, by_django=False)
    with pytest.raises(Exception, match="timestamp") as djangos:
        read(text, by_django=True)
    assert (type(ours.value), str(ours.value)) == (type(djangos.value), str(djangos.value))


def test_every_connection_uses_the_loader():
    connection.ensure_connection()
    loader = connection.connection.adapters.get_loader(connection.connection.adapters.types["timestamptz"].oid, 0)
    assert loader is TimeLoader
