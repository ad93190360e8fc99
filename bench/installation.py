"""Run a complete installation as docs/how-to/deploy.md describes it, on the benchmarks' servers, and call its API."""

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CELERY = [sys.executable, "-m", "celery", "--quiet", "-A", "config"]
_WORKER = [*_CELERY, "worker", "--loglevel", "ERROR"]
_MANAGE = [sys.executable, str(Path(__file__).parent.parent / "manage.py")]
_GRANIAN = [sys.executable, "-m", "granian", "--log-level", "error", "--no-access-log", "--host", "127.0.0.1"]
_PATIENCE_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A running installation: `processes` maps each part to its process ID, `key` is an API key."""

    processes: dict[str, int]
    port: int
    key: str

    def call(self, requests: Iterable[tuple[str, str, Any]]) -> list[dict[str, Any]]:
        """Send all requests `(method, path, body)` at once, each over its own connection.

        Return the JSON answers in order. Raises RuntimeError for an answer that is not 20x.
        """
        return asyncio.run(self._call(list(requests)))

    async def _call(self, requests: list[tuple[str, str, Any]]) -> list[dict[str, Any]]:
        return await asyncio.gather(*(self._answer(*request) for request in requests))

    async def _answer(self, method: str, path: str, body: Any) -> dict[str, Any]:
        payload = json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(head.encode() + payload)
        status, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        if b" 20" not in status.split(b"\r\n")[0]:
            raise RuntimeError(f"{method} {path} was answered with {answer.decode()}")
        return json.loads(answer)


@contextmanager
def running_installation(**environment: str) -> Iterator[Installation]:
    """Run the installation while the block runs. Needs DATA_DIR in `environment`; discards the processes' output."""
    from devserver.servers.embedded import free_port
    from workspaces.access.api_keys import mint_api_key

    port = free_port()
    data = Path(environment["DATA_DIR"])
    told = {**os.environ, "PLATFORM_URL": f"http://127.0.0.1:{port}", "PYTHONWARNINGS": "ignore", **environment}
    with ExitStack() as stack:
        # Runs last, when no worker is left to start another agent.
        stack.callback(_end_agents, data)
        options = {"env": told, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started = {name: stack.enter_context(_process(command, options)) for name, command in _commands(port).items()}
        _wait_for_web(port)
        _wait_for_workers()
        _, key = mint_api_key(name="bench", scopes=["operate"])
        yield Installation(processes={name: process.pid for name, process in started.items()}, port=port, key=key)


@contextmanager
def running_web(application: str) -> Iterator[int]:
    """Serve a WSGI application as an installation does while the block runs. Yields the port."""
    from devserver.servers.embedded import free_port

    port = free_port()
    # A load sends more in a second than a credential may in a minute. The calls are counted all the same.
    unlimited = dict.fromkeys(("AGENT_CALLS_PER_MINUTE", "OPERATOR_CALLS_PER_MINUTE"), "1000000")
    told = {**os.environ, "PYTHONWARNINGS": "ignore", **unlimited}
    options = {"env": told, "stdout": subprocess.DEVNULL}
    with _process(_web(port, application), options):
        _wait_for_web(port)
        yield port


def _end_agents(data: Path) -> None:
    """Stop agents that an interrupted round left running."""
    from workspaces.provisioners.process.folders import ProcessSettings
    from workspaces.provisioners.process.provisioner import ProcessProvisioner

    backend = ProcessProvisioner(ProcessSettings(root=data / "workspaces", log_bytes=4096, inherited={}))
    for key in backend.running_launches():
        backend.stop(key, timeout_seconds=1)


def _commands(port: int) -> dict[str, list[str]]:
    return {
        "web": _web(port, "config.wsgi:application"),
        "launch": [*_WORKER, "-Q", "launch", "-n", "launch@%h", "--pool", "threads", "--concurrency", "4"],
        "stop": [*_WORKER, "-Q", "stop", "-n", "stop@%h", "--pool", "threads", "--concurrency", "8"],
        "sweep": [*_WORKER, "-Q", "sweep", "-n", "sweep@%h", "--concurrency", "2"],
        "beat": [*_CELERY, "beat", "--loglevel", "ERROR"],
        "relay": [*_MANAGE, "relay"],
        "deliver": [*_MANAGE, "deliver"],
    }


def _web(port: int, application: str) -> list[str]:
    return [
        *_GRANIAN,
        "--port",
        str(port),
        "--interface",
        "wsgi",
        "--workers",
        "2",
        "--blocking-threads",
        "4",
        application,
    ]


@contextmanager
def _process(command: list[str], options: dict[str, Any]) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_web(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _wait_for_workers() -> None:
    from workspaces.workers import NoWorker, require_worker

    deadline = time.monotonic() + _PATIENCE_SECONDS
    for queue in ("launch", "stop", "sweep"):
        while True:
            try:
                require_worker(queue)
            except NoWorker:
                if time.monotonic() > deadline:
                    raise
            else:
                break
