"""The servers of the test suite are real, and each xdist worker has its own database and prefix."""

import os
import subprocess
import sys

import pytest
import redis
from django.conf import settings
from django.db import connection

from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db


def test_the_suite_runs_on_postgres_with_utf8():
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        assert cursor.fetchone() == ("UTF8",)
    assert connection.pg_version >= 14_00_00


def test_redis_answers_under_the_worker_s_own_prefix():
    assert settings.REDIS_PREFIX.startswith("test-")
    with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=PATIENCE_SECONDS) as client:
        assert client.ping()


def test_a_child_process_works_on_the_test_s_own_database(child_environment):
    script = (
        "import django; django.setup(); from django.db import connection; connection.ensure_connection(); "
        "print(connection.settings_dict['NAME'])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=child_environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert result.stdout.strip() == connection.settings_dict["NAME"]
    assert result.stdout.startswith("test_")
    assert child_environment["DATA_DIR"] == os.environ["DATA_DIR"]
