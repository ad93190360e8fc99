"""A Postgres and a Redis for benchmarks, configured as in production and deleted at the end."""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet

from devserver.servers.embedded_postgres import start_postgres
from devserver.servers.embedded_redis import start_redis

_STARTED: list[Path] = []


def start_servers() -> Path:
    """Start the servers once per process, point the environment to them, set up Django and migrate.

    Return the temporary folder that holds their data.
    """
    if not _STARTED:
        _STARTED.append(_start())
    return _STARTED[0]


def _start() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="slipway-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    postgres = start_postgres(folder / "postgres")
    atexit.register(postgres.stop)
    redis = start_redis(folder / "redis")
    atexit.register(redis.stop)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": postgres.url,
        "REDIS_URL": redis.url,
        "SECRET_KEY": "only-for-benchmarks-" + "x" * 40,
        "SECRETS_KEYS": Fernet.generate_key().decode(),
        "DATA_DIR": str(folder),
        "DELIVERY_ALLOW_PRIVATE": "127.0.0.0/8",
    }
    _migrate()
    return folder


def _migrate() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    # `manage.py relay` and `manage.py deliver` do the same when they start.
    gc.freeze()
