"""The processes of a running Slipway, as `make up` starts them on one machine."""

import os
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from django.conf import settings

from devserver.console import Console
from devserver.servers.embedded import LOCALHOST
from devserver.stale_processes import SUPERVISED_FROM
from devserver.supervisor import Child

_WEB_POOL_SIZE = "8"
_SWEEP_PROCESSES = 2
# Warnings about what is intended here: running as root, and streams.
_EXPECTED_WARNINGS = "ignore:You're running the worker,ignore:StreamingHttpResponse must consume synchronous"


def web(*, port: int, console: Console, name: str = "web") -> Child:
    """Return a web server: one ASGI process for pages, API and live streams."""
    command = [sys.executable, "-m", "granian", "--interface", "asginl", "--host", LOCALHOST, "--port", str(port)]
    # At a stop Granian would wait for open streams, which never end by themselves.
    command += ["--workers", "1", "--workers-kill-timeout", "1"]
    command += ["--log-level", "warning", "--no-access-log", "config.asgi:application"]
    return _child(name, command, console=console, extra={"DATABASE_POOL_SIZE": _WEB_POOL_SIZE})


def registry(*, web_port: int, console: Console) -> list[Child]:
    """Return a web server for the agents' reports alone, if REGISTRY_URL is another port of this machine."""
    address = urlsplit(settings.REGISTRY_URL)
    if address.hostname != LOCALHOST or address.port in (None, web_port):
        return []
    if settings.REGISTRY_URL == settings.PLATFORM_URL:
        # A reverse proxy of the operator.
        return []
    return [web(port=address.port, console=console, name="registry")]


def workers(*, console: Console) -> list[Child]:
    """Return one worker for each queue, so that slow launches delay neither the sweep nor a stop."""
    pools = {
        "sweep": ["--pool", "prefork", "--concurrency", str(_SWEEP_PROCESSES)],
        "launch": ["--pool", "threads", "--concurrency", str(settings.LAUNCH_SLOTS)],
        "stop": ["--pool", "threads", "--concurrency", str(settings.STOP_SLOTS)],
    }
    common = ["--without-gossip", "--without-mingle", "--loglevel", settings.LOG_LEVEL]
    return [
        _child(queue, [*_celery("worker"), "-Q", queue, "-n", f"{queue}@%h", *pool, *common], console=console)
        for queue, pool in pools.items()
    ]


def beat(*, console: Console) -> Child:
    """Return Celery beat, which sends the scheduled tasks."""
    return _child("beat", [*_celery("beat"), "--loglevel", settings.LOG_LEVEL], console=console)


def relay(*, console: Console) -> Child:
    """Return the relay, which numbers committed events."""
    return _child("relay", _manage("relay"), console=console)


def deliver(*, console: Console) -> Child:
    """Return the process that delivers events to channels."""
    return _child("deliver", _manage("deliver"), console=console)


def simulator(*, console: Console) -> Child:
    """Return the simulator, which plays the agents of the simulated backend."""
    return _child("simulate", _manage("simulate"), console=console)


def _manage(command: str) -> list[str]:
    return [sys.executable, str(settings.BASE_DIR / "manage.py"), command]


def _celery(command: str) -> list[str]:
    return [sys.executable, "-m", "celery", "--quiet", "-A", "config", command]


def _child(name: str, command: list[str], *, console: Console, extra: Mapping[str, str] | None = None) -> Child:
    environment = {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": _EXPECTED_WARNINGS,
        SUPERVISED_FROM: str(settings.DATA_DIR),
        **(extra or {}),
    }
    return Child(name=name, command=command, environment=environment, console=console)
