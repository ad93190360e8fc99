"""Pid and start time identify a process, and sessions show which processes belong together."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import PATIENCE_SECONDS, wait_until
from workspaces.provisioners.host_processes import (
    find_processes,
    is_alive,
    session_members,
    start_time,
    wait_until_gone,
)

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper():
    """A process that leads a session of its own."""
    with subprocess.Popen(SLEEP, start_new_session=True) as process:
        yield psutil.Process(process.pid)
        process.kill()


def test_a_process_that_was_killed_is_dead_even_before_its_parent_notices(sleeper):
    assert is_alive(sleeper)
    sleeper.kill()
    wait_until(lambda: sleeper.status() == psutil.STATUS_ZOMBIE)
    assert not is_alive(sleeper)
    assert wait_until_gone([sleeper], seconds=PATIENCE_SECONDS)


def test_a_host_without_file_descriptors_says_nothing_about_a_process(sleeper, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        start_time(sleeper)


def test_the_start_time_is_the_same_when_the_clock_is_set(sleeper, monkeypatch):
    created, before, boot = sleeper.create_time(), start_time(sleeper), psutil.boot_time()
    module = sys.modules[type(sleeper._proc).__module__]
    monkeypatch.setattr(module, "boot_time", lambda: boot + 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
    later = psutil.Process(sleeper.pid)
    assert later.create_time() == pytest.approx(created + 3600, abs=2)
    assert start_time(later) == before


def test_a_session_is_found_by_its_leader_even_after_the_leader_has_ended(sleeper):
    program = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL).pid)"
    command = [sys.executable, "-c", program, *SLEEP]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        leader = psutil.Process(process.pid)
        member = psutil.Process(int(process.stdout.readline()))
        process.wait(timeout=PATIENCE_SECONDS)
    assert session_members(leader) == [member]
    assert session_members(sleeper) == [sleeper]
    member.kill()


def test_a_process_that_ends_while_processes_are_searched_is_left_out(sleeper):
    def is_wanted(process):
        if process != sleeper:
            return False
        raise psutil.NoSuchProcess(process.pid)

    assert find_processes(is_wanted) == []
    assert psutil.Process(os.getpid()) in find_processes(lambda process: process.pid == os.getpid())


def test_a_process_whose_first_thread_has_ended_is_alive_until_its_last_thread_ends():
    program = (
        "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); "
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        threaded = psutil.Process(process.pid)
        wait_until(lambda: threaded.status() == psutil.STATUS_ZOMBIE)
        assert is_alive(threaded)
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)
        assert not is_alive(threaded)
