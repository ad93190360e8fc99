"""A log keeps its newest part, and its end becomes text that Postgres takes."""

from types import SimpleNamespace

import pytest

from workspaces.provisioners.logs import WINDOW_BYTES, Log, part_of, size_of, tail_of


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


@pytest.mark.parametrize("most", [7, 50, 1000])
def test_a_reader_that_follows_reads_every_byte_once_through_all_rotations(tmp_path, most):
    log, written, read = Log(tmp_path / "log", 100), b"", b""
    for number in range(60):
        line = b"line %04d\n" % number
        log.add(line)
        written += line
        while (part := part_of(tmp_path / "log", offset=len(read), most=most)).data:
            assert part.start == len(read)
            read += part.data
    assert (read, part.size) == (written, len(written))


def test_a_reader_that_is_late_goes_on_with_what_is_still_kept(tmp_path):
    log, whole = Log(tmp_path / "log", 100), b"".join(b"line %04d\n" % number for number in range(60))
    log.add(whole)
    part = part_of(tmp_path / "log", offset=10, most=1000)
    assert part.start > 10
    assert (part.data, part.end) == (whole[part.start :], len(whole))
    beyond = part_of(tmp_path / "log", offset=10**17, most=1000)
    assert (beyond.start, beyond.data) == (len(whole), b"")


def test_no_log_and_one_whose_place_is_forged_have_no_parts(tmp_path):
    assert part_of(tmp_path / "log", offset=0, most=10).data == b""
    (tmp_path / "log").write_bytes(b"text\n")
    for forged in ("", "x", "1 2", "²³ ²", "1 2 3", f"{(tmp_path / 'log').stat().st_ino} -5"):
        (tmp_path / "log.start").write_text(forged)
        assert part_of(tmp_path / "log", offset=0, most=10).data == b""


def test_a_reader_in_the_middle_of_a_rotation_reads_nothing_yet(tmp_path):
    (tmp_path / "log.1").write_bytes(b"second\n")
    (tmp_path / "log").write_bytes(b"third\n")
    # It is still the place of what has just become the older half.
    (tmp_path / "log.start").write_text(f"{(tmp_path / 'log.1').stat().st_ino} 6")
    assert part_of(tmp_path / "log", offset=6, most=100).data == b""
    (tmp_path / "log.start").write_text(f"{(tmp_path / 'log').stat().st_ino} 13")
    assert part_of(tmp_path / "log", offset=6, most=100).data == b"second\nthird\n"


def test_the_size_of_a_log_counts_what_is_not_kept_any_more(tmp_path):
    assert size_of(tmp_path / "log") is None
    log = Log(tmp_path / "log", 100)
    assert size_of(tmp_path / "log") == 0
    for number in range(60):
        log.add(b"line %04d\n" % number)
        assert size_of(tmp_path / "log") == (number + 1) * 10


def test_the_size_of_a_log_that_is_missing_or_forged_is_known_at_once(tmp_path, monkeypatch):
    # A second look, after a pause, is meant for a rotation only.
    pauses = []
    monkeypatch.setattr("workspaces.provisioners.logs.time", SimpleNamespace(sleep=pauses.append))
    assert size_of(tmp_path / "log") is None
    assert pauses == []
    (tmp_path / "log").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        size_of(tmp_path / "log")
