"""The embedded Redis, wherever the project lies."""

import pytest

from devserver.servers.embedded_redis import start_redis
from tests.waiting import wait_until


@pytest.mark.parametrize("name", ['a"b', "a\\b", 'a\\"', "a b", "a'b", "a$HOME", "a#b", "ä%20"])
def test_redis_starts_below_a_folder_of_any_name(tmp_path, name):
    server = start_redis(tmp_path / name / "redis")
    try:
        wait_until(server.is_ready)
    finally:
        server.stop()
