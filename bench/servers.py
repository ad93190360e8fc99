"""Servers for benchmarks: a Postgres and a Redis of their own, as production runs them, thrown away at the end."""

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


def prepare() -> Path:
    """Start the servers, name them in the environment, set Django up and migrate; once a process. Return the folder."""
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
    # As relay and deliver do when they start.
    gc.freeze()
