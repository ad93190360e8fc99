"""The demo uses no setting of a real Slipway, and deletes only what a demo created."""

import os
import re

import pytest

from devserver.demo import setup
from devserver.demo.setup import (
    MARKER_FILE,
    DemoOptions,
    empty_folder,
    parse_options,
    prepare_folder,
    set_environment,
    settings_for_speed,
)
from devserver.local_environment import PROJECT, LocalSetupError

READ = re.findall(r"^([A-Z_]+)=$", (PROJECT / ".env.example").read_text(), re.MULTILINE)


@pytest.fixture
def real(monkeypatch):
    """An environment in which every variable of a real Slipway is set."""
    before = dict(os.environ)
    for name in READ:
        monkeypatch.setenv(name, f"real {name}")
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("real")
def test_settings_of_a_real_slipway_are_not_used(tmp_path):
    set_environment(DemoOptions(port=8010, speed=10, folder=tmp_path))
    assert "DATABASE_URL" in READ
    assert [name for name in READ if os.environ.get(name, "").startswith("real")] == []
    assert os.environ["DATA_DIR"] == str(tmp_path)
    assert os.environ["PLATFORM_URL"] == "http://127.0.0.1:8010"


def test_its_folder_and_port_differ_from_those_of_make_up():
    options = parse_options([])
    assert options.folder == PROJECT / ".data-demo"
    assert options.port not in {8000, None}
    assert ".data-demo/" in (PROJECT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    "arguments", [["--port", "0"], ["--port", "x"], ["--port", "65536"], ["--speed", "0"], ["--speed", "fast"]]
)
def test_a_bad_option_is_one_message(arguments):
    with pytest.raises(LocalSetupError):
        parse_options(arguments)


@pytest.mark.parametrize("speed", [1, 7, 10, 60, 1000])
def test_the_limits_are_shortened_and_leave_room_for_lost_heartbeats(speed):
    seconds = {name: int(value) for name, value in settings_for_speed(speed).items()}
    assert seconds["TEARDOWN_GRACE_SECONDS"] == max(1, round(600 / speed))
    assert min(seconds.values()) >= 1
    assert seconds["HEARTBEAT_LIMIT_SECONDS"] >= 3 * seconds["HEARTBEAT_INTERVAL_SECONDS"]


def test_at_speed_one_they_are_the_defaults_of_the_settings():
    source = (PROJECT / "config" / "settings.py").read_text()
    for name, value in settings_for_speed(1).items():
        assert re.search(rf'"{name}", default={value}\)', source), name


def test_a_folder_that_no_demo_created_is_refused_and_left_as_it_is(tmp_path):
    kept = tmp_path / "postgres"
    kept.mkdir()
    with pytest.raises(LocalSetupError, match="a demo did not create"):
        prepare_folder(tmp_path)
    assert kept.exists()


@pytest.mark.parametrize("name", ["n" * 300, "file", "file/beneath"], ids=["too long", "a file", "beneath a file"])
def test_a_folder_that_cannot_be_used_is_refused_with_the_reason(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(LocalSetupError, match=r"can't be used: .+\. Choose another one\."):
        prepare_folder(tmp_path / name)


def test_files_of_an_earlier_demo_are_deleted_except_those_in_use(tmp_path):
    folder = tmp_path / "demo"
    prepare_folder(folder)
    (folder / "postgres" / "data").mkdir(parents=True)
    (folder / "simulator.lock").touch()
    (folder / "owner.lock").touch()
    prepare_folder(folder)
    empty_folder(folder)
    assert sorted(path.name for path in folder.iterdir()) == [MARKER_FILE, "owner.lock"]


def test_symlinks_are_deleted_but_not_their_targets(tmp_path):
    folder, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    prepare_folder(folder)
    (folder / "postgres").symlink_to(elsewhere)
    empty_folder(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER_FILE]
    assert (elsewhere / "kept").exists()


def test_make_help_lists_the_demo():
    makefile = (PROJECT / "Makefile").read_text()
    assert re.search(r"^demo: .*## .*fleet of 60", makefile, re.MULTILINE)
    assert f"demo: PORT = {setup.DEFAULT_PORT}" in makefile
