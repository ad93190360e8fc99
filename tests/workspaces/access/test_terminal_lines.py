"""The end of a log is what a terminal shows of it: masked, plain in texts, with its colours on the page."""

import pytest

from events.masking.masker import LOG_TAIL_BYTES
from events.masking.terminal_lines import shown_lines
from events.models import Event
from postgres.clock import database_now
from tests.callers import AgentCaller, holder
from tests.growth import assert_grows_linearly
from tests.workspaces.factories import booting, running_on
from workspaces.access.masking import masker_of
from workspaces.admin.coloured_log import coloured_html
from workspaces.models import ApiScope
from workspaces.services.watching.evidence import crash_message
from workspaces.services.watching.watch import watch_boots

SECRET = "sk-Q7wZr9tKxT3mBVh2LpX8"
BAR = "\r" + "#" * 40 + " {:3} %"
PROGRESS = "ERROR: disk full\n" + "".join(BAR.format(number / 4) for number in range(400)) + "\n"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("ERROR: disk full\n 1 %\r 50 %\r100 %\n", "ERROR: disk full\n100 %\n"),
        ("downloading\r100 %\n", "100 %oading\n"),
        ("downloading\r\x1b[K100 %\n", "100 %\n"),
        ("downloading\x1b[2K\r100 %\n", "100 %\n"),
        ("a line\r\nanother\r\n", "a line\nanother\n"),
        ("|\b/\b-\bdone\n", "done\n"),
        ("ab\b \bc\n", "ac\n"),
        ("\x1b[31m 1 %\r\x1b[32m 2 %\x1b[0m\n", "\x1b[32m 2 %\x1b[0m\n"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07 \x1b[2A\x1b[1mbold\x1b[m\n", "link \x1b[1mbold\x1b[m\n"),
        ("working\r\x1b[31m\x1b[Kfailed\x1b[m\n", "\x1b[31mfailed\x1b[m\n"),
        ("\b\x1b[1m\x1b[31m\x1b[K\x1b[Kfailed\n", "\x1b[1m\x1b[31mfailed\n"),
        ("abc\x1b[1K\b\bxy\x1b[2K\b\b\bz\n", "z\n"),
        ("abc\x1b[1K\b\bxyz\n", " xyz\n"),
        ("abc\b\b\x1b[1Kx\n", " xc\n"),
        ("1 %\x1b[2K\x1b[1G50 %\x1b[2K\x1b[Gdone\n", "done\n"),
        ("a\x1b[2Kb\n", " b\n"),
        ("done\x1b[K\n", "done\n"),
        ("\x1b[31mabc\rd\x1b[m\n", "dbc\x1b[m\n"),
        ("é\ufffd\r\n", "é\ufffd\n"),
        ("x" * 3_000_000 + "\rend", "end" + "x" * 2_999_997),
    ],
)
def test_a_line_shows_its_last_state(written, shown):
    assert shown_lines(written) == shown


@pytest.mark.parametrize(
    "piece",
    ["a\r", "\r", "\b", "a\b", "\x1b[K", "x\x1b[K\r", "\x1b[31m", "\x1b[31ma\r", "\x1b[", "a\n"]
    + ["\x1b[1K", "x\x1b[1K", "x\x1b[2K", "\x1b[2Kx\b", "\x1b[31m\x1b[K", "\x1b[31m\b", "\x1b[1K\rx", "x\x1b[G"],
)
def test_what_a_terminal_shows_is_found_in_time_proportional_to_the_log(piece):
    assert_grows_linearly(
        shown_lines, lambda size: ("x" * 50_000 + "\r") * (size // 10_000) + piece * size + "\ry", size=10_000
    )


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("\x1b[31mSLIPWAY-BOOTSTRAP-FAILED: no disk\x1b[0m\n", "no disk"),
        ("\x1b[1;31mSLIPWAY-BOOTSTRAP-FAILED\x1b[0m: no disk\n", "no disk"),
        ("SLIPWAY-\x1b[1mBOOTSTRAP\x1b[0m-FAILED: no disk\n", "no disk"),
        ("S\x1b]8;;http://h\x07LIPWAY-BOOTSTRAP-FAILE\x1b[31m\x1b[1mD: no disk\n", "no disk"),
        ("\ufeffSLIPWAY-BOOTSTRAP-FAILED: no disk\n", "no disk"),
        ("begun\n\x1b[1m\ufeff\u200bSLIPWAY-\u200bBOOTSTRAP-FAILED: no disk\n", "no disk"),
        (" 99 %\rSLIPWAY-BOOTSTRAP-FAILED: no disk\n", "no disk"),
        ("\ufffd\r\nSLIPWAY-BOOTSTRAP-FAILED\r\n", ""),
        ("it printed SLIPWAY-BOOTSTRAP-FAILED\n", None),
        ("it printed SLIPWAY-\x1b[1mBOOTSTRAP-FAILED\n", None),
    ],
)
def test_a_coloured_crash_marker_is_seen(log, said):
    assert crash_message(log) == said


@pytest.mark.parametrize(
    "piece",
    ["S", "S\x1b[1m", "S\x1b]", "S\u200b", "S\x1bP", "SLIPWAY-BOOTSTRAP-FAILED", "x SLIPWAY-BOOTSTRAP-FAILED\n"],
)
def test_the_crash_marker_is_sought_in_time_proportional_to_the_log(piece):
    assert_grows_linearly(crash_message, lambda size: piece * (size // len(piece)), size=200_000)


def of_a_backend(agent, log, fake):
    fake.simulate_exit(running_on(fake, agent.workspace), exit_code=1, log_tail=log)
    watch_boots(clock=database_now)


def of_an_agent(agent, log, fake):
    agent.failed(log_tail=log)


def of_a_watcher(agent, log, fake):
    holder(ApiScope.WATCH).post(f"/admin/workspaces/{agent.workspace.pk}/bootstrap-failed", {"log_tail": log})


@pytest.mark.django_db
@pytest.mark.parametrize("way", [of_a_backend, of_an_agent, of_a_watcher], ids=lambda way: way.__name__)
def test_the_end_of_a_log_holds_the_error_before_the_progress_and_no_sequence(fake, admin_client, way):
    agent = AgentCaller(booting(secrets={"KEY": SECRET}))
    hidden = "".join(f"\x1b[3{number % 8}m{character}" for number, character in enumerate(SECRET))
    way(agent, f"\x1b[31m<b>{hidden}\x1b[0m\n{PROGRESS}{SECRET[:9]}\r{SECRET}\rxx\n", fake)
    event = Event.objects.latest("id")
    answer = holder(ApiScope.READ).get(f"/workspaces/{agent.workspace.pk}").json()
    page = admin_client.get(f"/admin/workspaces/workspace/{agent.workspace.pk}/change/").content.decode()
    logs = (event.payload["log_tail"], answer["failure"]["log_tail"])
    for log in logs:
        assert log.startswith("<b>••••••\nERROR: disk full\n####")
        assert log.count("%") == 1
        assert "\x1b" not in log
    for text in (*logs, page, str(event.payload)):
        assert not [piece for piece in (SECRET[n : n + 5] for n in range(len(SECRET) - 5)) if piece in text]
    assert '<span class="ansi-31">&lt;b&gt;</span><span class="ansi-30">••••••</span>' in page


@pytest.mark.django_db
def test_a_log_of_colours_stays_bounded():
    kept = masker_of(booting().pk).mask_log_tail("\x1b[31ma\x1b[0m" * 200_000)
    assert len(kept) <= 4 * LOG_TAIL_BYTES
    assert "a" * 1000 in kept.replace("\x1b[31m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a <b> & c", "a &lt;b&gt; &amp; c"),
        ("\x1b[1;31mred\x1b[0m x", '<span class="ansi-bold ansi-31">red</span> x'),
        ("\x1b[38;5;9mred\x1b[39m", '<span class="ansi-91">red</span>'),
        ("\x1b[38;2;1;2;3;4mtrue", '<span class="ansi-underline">true</span>'),
        ("\x1b[48;5;200;32mgreen", '<span class="ansi-32">green</span>'),
        ("\x1b[31m<script>\x1b[m", '<span class="ansi-31">&lt;script&gt;</span>'),
        ("\x1b[99999999999mx", "x"),
    ],
)
def test_colours_become_classes_and_everything_else_is_escaped(text, html):
    assert coloured_html(text) == html
