"""The embedded servers start, stop, survive a crash, and explain in a message why they can't."""

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest
import redis

from devserver.servers import embedded, embedded_postgres
from devserver.servers.embedded import PortTakenError, ServerError, read_or_create_secret
from devserver.servers.embedded_postgres import start_postgres
from devserver.servers.embedded_redis import start_redis
from devserver.stale_processes import stop_stale_processes
from tests.ports import free_port


@pytest.fixture
def started():
    """A list of servers to stop at the end of the test."""
    servers = []
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def postgres(tmp_path, started):
    server = start_postgres(tmp_path / "postgres", durable=False)
    started.append(server)
    return server


def execute(server, statement):
    with psycopg.connect(server.url, connect_timeout=60) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_postgres_keeps_its_data_after_a_stop(tmp_path, postgres, started):
    execute(postgres, "CREATE TABLE kept AS SELECT 7 AS number")
    postgres.stop()
    assert postgres.has_exited
    again = start_postgres(tmp_path / "postgres", durable=False)
    started.append(again)
    assert execute(again, "SELECT number FROM kept") == [(7,)]


def test_a_long_log_is_moved_away_while_the_server_writes_to_it(postgres, monkeypatch):
    monkeypatch.setattr(embedded, "_LOG_BYTES", 20_000)
    for round_number in range(3):
        for number in range(40):
            with pytest.raises(psycopg.errors.UndefinedTable):
                execute(postgres, f"TABLE nothing_{round_number} -- {'x' * 500}, {number}")
        assert postgres.log.stat().st_size > 20_000
        postgres.rotate_log()
        assert postgres.log.stat().st_size < 20_000
        assert f"nothing_{round_number}" in postgres.log.with_suffix(".log.1").read_text()
    with pytest.raises(psycopg.errors.UndefinedTable):
        execute(postgres, "TABLE nothing_at_all")
    assert "nothing_at_all" in postgres.log.read_text()
    assert len(list(postgres.folder.glob("*.log*"))) == 2


def test_postgres_requires_its_password_and_listens_on_this_host_only(postgres):
    password = (postgres.folder / "password").read_text().strip()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.url.replace(password, "wrong"), connect_timeout=60)
    assert execute(postgres, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert stat.S_IMODE((postgres.folder / "password").stat().st_mode) == 0o600


def test_postgres_recovers_what_was_committed_before_it_was_killed(tmp_path, started):
    killed = start_postgres(tmp_path / "postgres")
    started.append(killed)
    execute(killed, "CREATE TABLE kept AS SELECT 7 AS number")
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait(timeout=60)
    recovered = start_postgres(tmp_path / "postgres")
    started.append(recovered)
    assert execute(recovered, "SELECT number FROM kept") == [(7,)]


def test_servers_of_an_owner_that_was_killed_are_found_and_stopped(tmp_path, postgres, started):
    cache = start_redis(tmp_path / "redis")
    started.append(cache)
    assert stop_stale_processes(tmp_path) == 2
    assert postgres.has_exited
    assert cache.has_exited


def test_processes_of_another_folder_are_not_stopped(tmp_path, postgres):
    assert stop_stale_processes(tmp_path / "elsewhere") == 0
    assert not postgres.has_exited


def test_redis_requires_its_password_and_stores_nothing_on_disk(tmp_path, started):
    server = start_redis(tmp_path / "redis")
    started.append(server)
    with redis.Redis.from_url(server.url, socket_timeout=60) as client:
        client.set("key", "value")
        assert client.config_get("save") == {"save": ""}
    password = (server.folder / "password").read_text().strip()
    stranger = redis.Redis.from_url(server.url.replace(f":{password}@", ""), socket_timeout=60)
    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("key")
    server.stop()
    assert server.has_exited
    assert not list(server.folder.glob("*.rdb"))


def test_a_data_folder_of_another_postgres_is_refused_and_left_alone(tmp_path):
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("14\n")
    with pytest.raises(ServerError, match=r"made by PostgreSQL 14, and this is PostgreSQL 18"):
        start_postgres(tmp_path / "postgres")
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_a_folder_without_postgres_data_is_refused(tmp_path):
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(ServerError, match="PG_VERSION is missing"):
        start_postgres(tmp_path / "postgres")


def test_a_start_after_initdb_was_killed_succeeds(tmp_path, started):
    unfinished = tmp_path / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    server = start_postgres(tmp_path / "postgres", durable=False)
    started.append(server)
    assert execute(server, "SELECT 1") == [(1,)]
    assert not unfinished.exists()


def test_postgres_never_runs_as_root_even_if_user_namespaces_are_denied(monkeypatch):
    # An unprivileged user can't enter pytest's own folders.
    folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())
    folder.chmod(0o755)
    monkeypatch.setattr(embedded_postgres, "find_program", lambda *_names: None)
    server = start_postgres(folder / "data" / "postgres", durable=False)
    try:
        assert Path(f"/proc/{server.process.pid}").stat().st_uid == (os.geteuid() or 65534)
        assert execute(server, "SELECT 1") == [(1,)]
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PANIC:  could not write to file: No space left on device", "is full. Free some space"),
        ("initdb: error: could not write: Disk quota exceeded", "is full. Free some space"),
        ("LOG: x\nFATAL:  lock file is empty\nLOG: shut down", "FATAL:  lock file is empty"),
        ("", "it printed nothing"),
    ],
)
def test_the_output_of_a_server_becomes_a_message(tmp_path, text, message):
    assert message in str(embedded.error_from_output(name="postgres", folder=tmp_path, text=text))


def test_a_disk_with_too_little_space_is_refused_before_anything_is_created(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_postgres, "_NEW_DATA_BYTES", 2**62)
    with pytest.raises(ServerError, match="is full"):
        start_postgres(tmp_path / "postgres")
    assert not (tmp_path / "postgres" / "data").exists()


def test_a_port_that_another_program_took_is_not_tried_again(tmp_path, postgres, started, monkeypatch):
    taken = int(postgres.url.rpartition(":")[2].partition("/")[0])
    ports = [taken, free_port()]
    monkeypatch.setattr(embedded, "free_port", lambda: ports.pop(0))
    server = start_postgres(tmp_path / "other", durable=False)
    started.append(server)
    assert f":{taken}/" not in server.url
    assert execute(server, "SELECT 1") == [(1,)]


def test_a_port_that_is_never_free_is_reported_in_the_end(tmp_path, postgres, monkeypatch):
    taken = int(postgres.url.rpartition(":")[2].partition("/")[0])
    monkeypatch.setattr(embedded, "free_port", lambda: taken)
    with pytest.raises(PortTakenError, match="its port is in use"):
        start_postgres(tmp_path / "other", durable=False)


def test_a_secret_file_is_created_once_and_for_this_user_only(tmp_path):
    first = read_or_create_secret(tmp_path / "key")
    assert read_or_create_secret(tmp_path / "key") == first
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
