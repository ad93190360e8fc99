"""One process owns the data folder and its servers, and others find out from its record."""

import json
import os
import stat
import subprocess
import sys

import pytest

from devserver import ownership
from devserver.ownership import Role, State
from tests.waiting import PATIENCE_SECONDS

URLS = {"database_url": "postgres://h/d", "redis_url": "redis://h"}
HOLD_SHARE = """
import sys
from pathlib import Path
from devserver.ownership import try_to_join
membership = try_to_join(Path(sys.argv[1]))
print("joined" if membership else "refused", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owned(tmp_path):
    hold = ownership.try_to_own(tmp_path, role=Role.COMMAND, command="manage.py migrate")
    assert hold is not None
    yield hold
    if hold.lock.is_locked:
        hold.release()


def test_a_second_process_can_not_own_the_same_folder(owned):
    assert ownership.try_to_own(owned.folder, role=Role.UP, command="make up") is None


def test_the_folder_is_free_again_after_its_owner_releases_it(owned):
    owned.release()
    again = ownership.try_to_own(owned.folder, role=Role.UP, command="make up", address="http://here")
    assert again is not None
    assert ownership.read_owner(owned.folder).address == "http://here"
    again.release()


@pytest.mark.parametrize("state", [State.STARTING, State.STOPPING])
def test_no_process_joins_an_owner_that_is_not_ready(owned, state):
    owned.announce(state)
    assert ownership.try_to_join(owned.folder) is None


def test_a_member_learns_the_addresses_of_the_servers(owned):
    owned.announce(State.READY, **URLS)
    membership = ownership.try_to_join(owned.folder)
    assert membership.owner.database_url == URLS["database_url"]
    assert membership.owner.redis_url == URLS["redis_url"]
    membership.release()


def test_only_this_user_can_read_the_record_since_it_holds_passwords(owned):
    owned.announce(State.READY, **URLS)
    assert stat.S_IMODE((owned.folder / "owner.json").stat().st_mode) == 0o600


def test_the_owner_waits_for_a_member_in_another_process(owned):
    owned.announce(State.READY, **URLS)
    member = subprocess.Popen(
        [sys.executable, "-c", HOLD_SHARE, str(owned.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with member:
        assert member.stdout.readline() == "joined\n"
        owned.announce(State.STOPPING)
        assert not owned.wait_for_members(seconds=0.2)
        member.stdin.close()
        assert owned.wait_for_members(seconds=PATIENCE_SECONDS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "role": "up", "state": "odd"}'])
def test_a_record_that_can_not_be_parsed_is_ignored(tmp_path, text):
    (tmp_path / "owner.json").write_text(text)
    assert ownership.read_owner(tmp_path) is None


def test_the_record_of_a_dead_process_is_ignored_even_if_another_process_has_its_pid(owned):
    record = json.loads((owned.folder / "owner.json").read_text())
    (owned.folder / "owner.json").write_text(json.dumps({**record, "pid": os.getpid(), "started_at": 1}))
    assert ownership.read_owner(owned.folder) is None


def test_the_kernel_frees_the_lock_of_an_owner_that_was_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from devserver.ownership import *; "
        "hold = try_to_own(Path(sys.argv[1]), role=Role.UP, command='make up'); "
        "print('owns', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "owns\n"
        assert ownership.try_to_own(tmp_path, role=Role.UP, command="make up") is None
        owner.kill()
        owner.wait(timeout=PATIENCE_SECONDS)
    hold = ownership.try_to_own(tmp_path, role=Role.UP, command="make up")
    assert hold is not None
    hold.release()
