"""A pytest plugin that starts one Postgres and one Redis for the whole run, before Django reads its settings."""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from devserver.servers.embedded_postgres import start_postgres
from devserver.servers.embedded_redis import start_redis

_SCRATCH = "SLIPWAY_TEST_SCRATCH"
# Taken but not listened at: agents that a test starts reach no platform, not even one that runs on this machine.
_NO_PLATFORM = socket.socket()
# Waits until the test run closes its end of the pipe, even if the run was killed, then stops the servers.
_GUARD = "cat >/dev/null; kill -QUIT {pids} 2>/dev/null; sleep 0.5; kill -KILL {pids} 2>/dev/null; rm -rf {scratch}"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests():
    """Set the environment; an xdist worker inherits the servers of its controller."""
    if _SCRATCH not in os.environ:
        _start_servers()
    _separate(worker=os.environ.get("PYTEST_XDIST_WORKER", "main"))


def _start_servers():
    scratch = Path(tempfile.mkdtemp(prefix="slipway-tests-"))
    # Registered first, so it runs last, after the servers have stopped.
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    os.environ[_SCRATCH] = str(scratch)
    postgres = start_postgres(scratch / "postgres", durable=False)
    atexit.register(postgres.stop, seconds=10)
    redis = start_redis(scratch / "redis")
    atexit.register(redis.stop, seconds=10)
    _start_guard([postgres, redis], scratch)
    os.environ["DATABASE_URL"], os.environ["REDIS_URL"] = postgres.url, redis.url
    os.environ["SECRET_KEY"] = "only-for-tests-" + "x" * 50
    os.environ["SECRETS_KEYS"] = Fernet.generate_key().decode()


def _start_guard(servers, scratch):
    pids = " ".join(str(server.process.pid) for server in servers if server.process)
    script = _GUARD.format(pids=pids, scratch=scratch)
    guard = subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, start_new_session=True)
    # A run that ends normally doesn't need the guard.
    atexit.register(guard.wait)
    atexit.register(guard.kill)


def _separate(*, worker):
    folder = Path(os.environ[_SCRATCH]) / worker
    folder.mkdir(exist_ok=True)
    os.environ["DATA_DIR"] = str(folder)
    os.environ["REDIS_PREFIX"] = f"test-{worker}:"
    _NO_PLATFORM.bind(("127.0.0.1", 0))
    atexit.register(_NO_PLATFORM.close)
    os.environ["PLATFORM_URL"] = f"http://127.0.0.1:{_NO_PLATFORM.getsockname()[1]}"
    addresses = ("REGISTRY_URL", "PATH_PREFIX", "AGENT_URL_ALLOW_PRIVATE")
    for name in (*addresses, "PROVISION_TIMEOUT_SECONDS", "CATALOG_DIRS", "DEBUG", "TRUSTED_PROXIES", "TRUSTED_PROXY"):
        os.environ.pop(name, None)
