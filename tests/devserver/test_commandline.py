"""manage.py as an operator uses it: each command works on its own, and errors are one message."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from devserver import commandline
from devserver.error_messages import NOT_MIGRATED, message_for
from devserver.local_environment import LocalSetupError
from devserver.servers.embedded import full_disk_message
from tests.waiting import PATIENCE_SECONDS, wait_until

PROJECT = Path(__file__).parents[2]
MANAGE = [sys.executable, str(PROJECT / "manage.py")]
SLEEP = "import time, sys; print('works', flush=True); sys.stdin.readline()"


@pytest.fixture
def environment(tmp_path):
    """The environment of a machine without any configuration."""
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DATA_DIR": str(tmp_path / "data")}


def manage(*arguments, environment):
    return subprocess.run(
        [*MANAGE, *arguments],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )


def start(*arguments, environment):
    return subprocess.Popen(
        [*MANAGE, *arguments],
        env=environment,
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_in(folder):
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str(entry.joinpath("cwd").readlink()).startswith(folder):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def servers_in(folder):
    """Return the servers, without the processes that Postgres starts and ends as it needs them."""
    found = {}
    for pid in processes_in(folder):
        with suppress(psutil.Error):
            found[pid] = psutil.Process(pid).ppid()
    return {pid for pid, parent in found.items() if parent not in found}


@pytest.mark.parametrize(
    "arguments",
    [
        *(["help"], ["--help"], ["--version"], [], ["migrate", "--help"], ["check"]),
        ["preflight", "catalog/echo"],
        *([page, "--check"] for page in ("lifecycle_diagram", "operations_page", "event_catalogue", "config_schema")),
    ],
)
def test_a_command_that_only_looks_at_the_code_starts_no_server_and_writes_nothing(arguments, environment):
    result = manage(*arguments, environment=environment)
    assert result.returncode == 0, result.stderr
    assert not Path(environment["DATA_DIR"]).exists()


def test_a_command_starts_servers_while_it_runs_and_the_next_one_finds_its_data(environment):
    write = "from django.contrib.auth.models import User; User.objects.create(username='kept')"
    read = "from django.contrib.auth.models import User; print(User.objects.get().username)"
    assert manage("migrate", environment=environment).returncode == 0
    assert manage("shell", "-c", write, environment=environment).returncode == 0
    assert manage("shell", "-v0", "-c", read, environment=environment).stdout == "kept\n"
    wait_until(lambda: not processes_in(environment["DATA_DIR"]))


def test_a_command_without_migrations_says_what_to_do(environment):
    result = manage("changepassword", "admin", environment=environment)
    assert (result.returncode, result.stderr.strip()) == (1, NOT_MIGRATED)


def test_an_unreachable_database_is_one_message(environment):
    result = manage("migrate", environment={**environment, "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"})
    assert result.returncode == 1
    assert result.stderr.startswith("The database can't be reached: ")
    assert result.stderr.count("\n") == 1


def test_with_both_addresses_set_no_key_is_created(environment):
    urls = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    result = manage("migrate", environment={**environment, **urls})
    assert result.returncode == 1
    assert "SECRET_KEY is not set." in result.stderr
    assert not Path(environment["DATA_DIR"]).exists()


def test_a_bad_setting_is_one_message(environment):
    result = manage("migrate", environment={**environment, "PROVISION_TIMEOUT_SECONDS": "abc"})
    assert result.returncode == 1
    assert result.stderr.startswith("PROVISION_TIMEOUT_SECONDS=abc ")
    assert result.stderr.count("\n") == 1


def test_a_folder_that_can_not_be_created_is_one_message(environment, tmp_path):
    (tmp_path / "file").write_text("")
    result = manage("migrate", environment={**environment, "DATA_DIR": str(tmp_path / "file" / "data")})
    assert result.returncode == 1
    assert result.stderr == (
        f"The data folder {tmp_path}/file/data can't be created: Not a directory. "
        "Set DATA_DIR to a folder of your own.\n"
    )


def test_a_folder_whose_name_is_too_long_is_one_message(environment, tmp_path):
    result = manage("migrate", environment={**environment, "DATA_DIR": str(tmp_path / ("n" * 300))})
    assert result.returncode == 1
    assert result.stderr == f"{tmp_path}/{'n' * 300}: File name too long. Set DATA_DIR to a folder of your own.\n"


def test_a_second_command_shares_the_servers_and_the_first_waits_for_it(environment):
    with start("shell", "-v0", "-c", SLEEP, environment=environment) as first:
        assert first.stdout.readline() == "works\n"
        servers = servers_in(environment["DATA_DIR"])
        with start("shell", "-v0", "-c", SLEEP, environment=environment) as second:
            assert second.stdout.readline() == "works\n"
            assert servers_in(environment["DATA_DIR"]) == servers
            first.stdin.write("\n")
            first.stdin.flush()
            assert "waiting for them to end" in first.stderr.readline()
            assert servers_in(environment["DATA_DIR"]) == servers
            second.communicate("\n", timeout=PATIENCE_SECONDS)
        first.communicate(timeout=PATIENCE_SECONDS)
    assert (first.returncode, second.returncode) == (0, 0)
    wait_until(lambda: not processes_in(environment["DATA_DIR"]))


def test_after_an_owner_was_killed_the_next_command_stops_its_processes_and_works(environment):
    with start("shell", "-v0", "-c", SLEEP, environment=environment) as killed:
        assert killed.stdout.readline() == "works\n"
        killed.kill()
    assert processes_in(environment["DATA_DIR"]) != []
    result = manage("shell", "-v0", "-c", "print('works')", environment=environment)
    assert (result.returncode, result.stdout) == (0, "works\n")
    assert "stopped 2 processes that it left behind" in result.stderr
    wait_until(lambda: not processes_in(environment["DATA_DIR"]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_stopped_by_a_signal_stops_its_servers(number, environment):
    with start("shell", "-v0", "-c", SLEEP, environment=environment) as stopped:
        assert stopped.stdout.readline() == "works\n"
        stopped.send_signal(number)
        stopped.wait(timeout=PATIENCE_SECONDS)
    assert stopped.returncode == 128 + number
    wait_until(lambda: not processes_in(environment["DATA_DIR"]))


def test_a_command_whose_data_folder_was_deleted_stops_its_servers(environment):
    with start("shell", "-v0", "-c", SLEEP, environment=environment) as command:
        assert command.stdout.readline() == "works\n"
        assert len(processes_in(environment["DATA_DIR"])) >= 2
        shutil.rmtree(environment["DATA_DIR"])
        _, errors = command.communicate("\n", timeout=PATIENCE_SECONDS)
    assert (command.returncode, errors) == (0, "")
    assert processes_in(environment["DATA_DIR"]) == []


def test_up_reports_that_its_port_is_in_use_before_it_starts_anything(environment):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = manage("up", "--port", str(port), environment=environment)
    assert result.returncode == 1
    assert result.stderr == (
        f"Port {port} is in use by another program: choose another with `make up PORT={port + 1}`.\n"
    )
    assert not Path(environment["DATA_DIR"], "postgres").exists()


@pytest.mark.parametrize("port", ["0", "65536", "x", "-1"])
def test_a_bad_web_port_is_refused(port):
    with pytest.raises(LocalSetupError, match="whole number from 1 to 65535"):
        commandline.up_port(["manage.py", "up", f"--port={port}"])


def test_the_web_port_is_8000_unless_chosen():
    assert commandline.up_port(["manage.py", "up"]) == 8000
    assert commandline.up_port(["manage.py", "up", "--no-resume", "--port", "8001"]) == 8001


FULL_DISK_SCRIPT = """
set -e
mount -t tmpfs -o size=110m tmpfs "$MOUNT"
"$@" migrate -v0
"$@" shell -v0 -c "$WRITE"
# Fails once the disk is full, as intended.
dd if=/dev/zero of="$MOUNT/ballast" bs=1M 2>/dev/null || true
if [ "$1" ] && "$@" shell -v0 -c "$READ"; then exit 90; else [ $? = 1 ] || exit 91; fi
rm "$MOUNT/ballast"
dd if=/dev/zero of="$MOUNT/ballast" bs=1M count=$(( $(df --output=avail -m "$MOUNT" | tail -1) - 3 )) 2>/dev/null
if "$@" shell -v0 -c "$FILL"; then exit 92; else [ $? = 1 ] || exit 93; fi
rm "$MOUNT/ballast"
"$@" shell -v0 -c "$READ"
"""


def test_a_full_disk_is_a_message_and_loses_nothing(environment, tmp_path):
    mount = tmp_path / "mount"
    mount.mkdir()
    user = "from django.contrib.auth.models import User; "
    fill = "User.objects.bulk_create(User(username=str(n), password='x' * 100) for n in range(100_000))"
    variables = {
        **environment,
        "MOUNT": str(mount),
        "DATA_DIR": str(mount / "data"),
        "WRITE": user + "User.objects.create(username='kept')",
        "READ": user + "print(User.objects.filter(username='kept').count())",
        "FILL": user + fill,
    }
    # A mount in a namespace of its own, which ends with the shell.
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL_DISK_SCRIPT, "sh", *MANAGE]
    result = subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=4 * PATIENCE_SECONDS, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "1\n"
    assert "Traceback" not in result.stderr
    assert result.stderr.count("is full. Free some space and start again") == 2


def test_a_mistake_in_the_code_is_not_a_message():
    assert message_for(ValueError("a mistake")) is None


def test_a_full_disk_anywhere_is_a_message():
    assert message_for(OSError(28, "No space left on device", "/data/file")) == full_disk_message("/data/file")
