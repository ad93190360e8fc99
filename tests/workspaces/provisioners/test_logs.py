"""A log keeps its newest part, and its end becomes text that Postgres takes."""

import pytest

from workspaces.provisioners.logs import WINDOW_BYTES, Log, tail_of


def kept(path):
    older = path.with_name(f"{path.name}.1")
    return (older.read_bytes() if older.exists() else b"") + path.read_bytes()


@pytest.mark.parametrize("chunk", [1, 3, 7, 50, 64, 1000])
def test_the_log_keeps_the_newest_bytes_whatever_they_come_in(tmp_path, chunk):
    whole = b"".join(b"%05d\n" % number for number in range(200))
    log = Log(tmp_path / "log", 100)
    for start in range(0, len(whole), chunk):
        log.add(whole[start : start + chunk])
    assert whole.endswith(kept(tmp_path / "log"))
    assert 50 <= len(kept(tmp_path / "log")) <= 100


def test_a_log_that_cannot_turn_starts_again_instead_of_growing(tmp_path):
    log = Log(tmp_path / "log", 100)
    (tmp_path / "log.1").mkdir()
    for number in range(100):
        log.add(b"line %03d\n" % number)
    assert len((tmp_path / "log").read_bytes()) <= 50
    assert (tmp_path / "log").read_bytes().endswith(b"line 099\n")


def test_the_tail_of_a_young_half_begins_in_the_older_one(tmp_path):
    (tmp_path / "log.1").write_bytes(b"a" * 9000)
    (tmp_path / "log").write_bytes(b"b" * 10)
    assert tail_of(tmp_path / "log") == "a" * 9000 + "b" * 10


def test_the_tail_of_no_log_is_empty(tmp_path):
    assert tail_of(tmp_path / "log") == ""


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a\0b", "ab"),
        ("€".encode()[1:] + b"x", "x"),
        (b"a\xffb", "a\ufffdb"),
        ("€".encode() * 400_000, "€" * (WINDOW_BYTES // 3)),
        (b"\xff" * 3 + b"a" + b"\xff" * 9000, "a" + "\ufffd" * 9000),
        (b"fourteen bytes\n" * 80_000, "fourteen bytes\n" * (WINDOW_BYTES // 15)),
        (b"x" * 3_000_000 + b"\n", "x" * (WINDOW_BYTES - 1) + "\n"),
    ],
)
def test_a_tail_is_text_that_postgres_takes_without_the_line_that_is_cut(tmp_path, raw, text):
    (tmp_path / "log").write_bytes(raw)
    assert tail_of(tmp_path / "log") == text


def test_the_line_in_which_the_older_half_begins_is_dropped(tmp_path):
    (tmp_path / "log.1").write_bytes(b"half a line\n" + b"old\n" * 9)
    (tmp_path / "log").write_bytes(b"new\n")
    assert tail_of(tmp_path / "log") == "old\n" * 9 + "new\n"
