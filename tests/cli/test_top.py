"""`slipway top`, driven by Textual's own pilot against a real server."""

import asyncio
import html
import re
import threading
from collections import Counter
from contextlib import closing

import pytest
from django.db import connections
from slipway.client import Client
from slipway.fleet_view import CHATTER, FleetView
from slipway.profiles import Server
from textual.widgets import DataTable, Input, RichLog, Static

from events.names import EphemeralEventType
from tests.cli.answers.test_odd_servers import OddServer
from tests.cli.conftest import new_key
from tests.journeys.conftest import stack
from tests.serving import serving
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import booting, failed, hibernated, online
from workspaces.models import Workspace
from workspaces.operations import pause, remove, resume

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["stack"]


def test_what_is_left_out_are_names_of_events():
    assert set(CHATTER) <= set(EphemeralEventType.values)


class CountingClient(Client):
    """Counts the calls by their paths."""

    def __init__(self, server):
        super().__init__(server)
        self.calls = Counter()

    def once(self, request):
        self.calls[request.url.path] += 1
        return super().once(request)


def watch(url, play, size=(150, 40)):
    """Open the view in a terminal of this size, and let `play` use it."""

    async def open_view():
        with closing(CountingClient(Server(url=url, key=new_key_text))) as client:
            view = FleetView(client)
            view.calls = client.calls
            async with view.run_test(size=size) as pilot:
                await play(view, pilot)

    new_key_text = new_key()
    asyncio.run(open_view())


async def until(pilot, holds):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await pilot.pause(0.05)


def names(view):
    table = view.query_one("#fleet", DataTable)
    return [str(table.get_row_at(number)[0]) for number in range(table.row_count)]


def test_the_fleet_is_shown_and_filtered(live_server):
    online(name="nightly")
    failed(name="fails")
    Workspace.objects.filter(name="fails").update(name="\x1b[31m[b]fails")

    async def play(view, pilot):
        await until(pilot, lambda: names(view) == ["[b]fails", "nightly"])
        await until(pilot, lambda: "2 workspaces" in str(view.query_one("#summary", Static).render()))
        await pilot.press("f")
        await until(pilot, lambda: names(view) == ["[b]fails"])
        await pilot.press("f", "slash", *"night", "enter")
        await until(pilot, lambda: names(view) == ["nightly"])
        await until(pilot, lambda: not view.query_one("#filter", Input).has_class("shown"))
        await pilot.press("s")
        # This server has no live streams, and the view says so.
        await until(pilot, lambda: "ASGI" in "".join(line.text for line in view.query_one("#events", RichLog).lines))
        await pilot.press("q")

    watch(live_server.url, play)


def screen_of(view):
    """Return the lines that the terminal shows, from the picture that Textual draws of them."""
    lines = {}
    for place, text in re.findall(r'<text[^>]*-line-(\d+)\)"[^>]*>([^<]*)</text>', view.export_screenshot()):
        lines.setdefault(int(place), []).append(html.unescape(text).replace("\N{NO-BREAK SPACE}", " "))
    return ["".join(lines[place]) for place in sorted(lines)]


def squeezed(*texts):
    """Return texts without the spaces between words: those of another colour have a place of their own."""
    return "".join("".join(texts).split())


def test_a_long_name_leaves_place_for_the_other_columns(live_server):
    online(name="n" * 87)
    failed(name="nightly-import")
    Workspace.objects.update(runtime="r" * 60)

    async def play(view, pilot):
        await until(pilot, lambda: len(names(view)) == 2)
        await pilot.pause()
        header, failing, long = screen_of(view)[1:4]
        assert header.split()[:5] == ["NAME", "STATUS", "RUNTIME", "AGE", "DETAIL"]
        assert ("failed" in failing, "crashed:" in failing, "online" in long) == (True, True, True)
        await pilot.resize_terminal(200, 24)
        await until(pilot, lambda: f"{'n' * 65}… " in screen_of(view)[3])
        assert "crashed: It broke." in screen_of(view)[2]

    watch(live_server.url, play, size=(80, 24))


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_view_shows_every_count_and_every_key(live_server, width):
    for make, number in ((online, 12), (failed, 8), (booting, 6), (hibernated, 5)):
        for each in range(number):
            make(name=f"{make.__name__}-{each}")

    async def play(view, pilot):
        await until(pilot, lambda: len(names(view)) == 31)
        await pilot.press("f", "f", "slash", "o", "n", "enter")
        await until(pilot, lambda: len(names(view)) == 12)
        await pilot.press("escape")
        await until(pilot, lambda: len(names(view)) == 31)
        await pilot.press("f")
        await until(pilot, lambda: len(names(view)) == 8)
        keys = "q Quit / Filter s Sort f Failed esc All"
        await until(pilot, lambda: squeezed(screen_of(view)[-1]) == squeezed(keys))
        await pilot.press("escape")
        await until(pilot, lambda: len(names(view)) == 31)
        summary = f"31 workspaces 12 online 8 failed 6 provisioning 5 hibernated {live_server.url} NAME"
        await until(pilot, lambda: squeezed(*screen_of(view)[:4]).startswith(squeezed(summary)))
        await until(pilot, lambda: "esc" not in screen_of(view)[-1])

    watch(live_server.url, play, size=(width, 24))


def test_escape_closes_the_filter_and_the_next_key_is_a_command(live_server):
    online(name="nightly"), online(name="greeter")

    async def play(view, pilot):
        await until(pilot, lambda: names(view) == ["greeter", "nightly"])
        await pilot.press("slash", *"night")
        await until(pilot, lambda: names(view) == ["nightly"])
        await until(pilot, lambda: "1 workspace with night" in screen_of(view)[0])
        await pilot.press("escape")
        await until(pilot, lambda: names(view) == ["greeter", "nightly"])
        assert not view.query_one("#filter", Input).has_class("shown")
        await pilot.press("q")
        await until(pilot, lambda: view.return_code == 0)

    watch(live_server.url, play)


def test_what_is_out_of_sight_stays_scrolled_to(live_server):
    for number in range(40):
        online(name=f"nightly-{number:02}")

    async def play(view, pilot):
        await until(pilot, lambda: len(names(view)) == 40)
        table = view.query_one("#fleet", DataTable)
        await pilot.press(*["right"] * 5, *["down"] * 30)
        await until(pilot, lambda: table.scroll_x == 5)
        place, before = table.scroll_y, view.calls["/workspaces"]
        view.reload()
        await until(pilot, lambda: view.calls["/workspaces"] > before + 1)
        assert (table.scroll_x, table.scroll_y, table.cursor_row) == (5, place, 30)
        # As the wheel and the arrow keys do: from where the table was.
        table.scroll_up(animate=False, immediate=True)
        table.scroll_left(animate=False, immediate=True)
        assert (table.scroll_x, table.scroll_y) == (4, place - 1)

    watch(live_server.url, play, size=(40, 24))


async def elsewhere(act, *arguments, **options):
    """Let something happen while the view goes on."""

    def act_and_close():
        act(*arguments, **options)
        connections.close_all()

    await asyncio.to_thread(act_and_close)


def statuses(view):
    table = view.query_one("#fleet", DataTable)
    rows = [table.get_row_at(number) for number in range(table.row_count)]
    return {str(row[0]): str(row[1]) for row in rows}


def test_an_open_stream_without_events_spares_the_list(stack, monkeypatch):
    for name, seconds in {"_RELOAD": 10 * PATIENCE_SECONDS, "_REFRESH": 0.1, "_SHORTEST": 0.05}.items():
        monkeypatch.setattr(f"slipway.fleet_view.{name}_SECONDS", seconds)
    stack.start("web")
    online(name="first")
    read, since_list = FleetView.read_rows, Counter()

    def read_and_count(view, rows):
        before = view.calls["/workspaces"]
        rows = read(view, rows)
        since_list["rounds"] = since_list["rounds"] + 1 if view.calls["/workspaces"] == before else 0
        return rows

    monkeypatch.setattr(FleetView, "read_rows", read_and_count)

    async def play(view, pilot):
        await until(pilot, lambda: since_list["rounds"] >= 10)
        assert statuses(view) == {"first": "online"}

    watch(f"http://127.0.0.1:{stack.port}", play)


def test_an_event_refreshes_its_own_workspace_and_the_list_is_not_read_again(stack, monkeypatch):
    monkeypatch.setattr("slipway.fleet_view._RELOAD_SECONDS", 10 * PATIENCE_SECONDS)
    stack.start("web", "relay")
    first, second = online(name="first"), online(name="second")

    async def play(view, pilot):
        await until(pilot, lambda: statuses(view) == {"first": "online", "second": "online"})
        # Until the stream is open, the list is read at each event.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not view.calls[f"/workspaces/{first.pk}"]:
                await elsewhere(pause, first.pk)
                await pilot.pause(0.5)
                await elsewhere(resume, first.pk)
                await pilot.pause(0.5)
        await elsewhere(pause, first.pk)
        await until(pilot, lambda: statuses(view)["first"] == "paused")
        before = view.calls.copy()
        await elsewhere(pause, second.pk)
        await until(pilot, lambda: statuses(view) == {"first": "paused", "second": "paused"})
        assert "1 online" not in str(view.query_one("#summary", Static).render())
        # A removed one goes.
        await elsewhere(remove, second.pk)
        await until(pilot, lambda: statuses(view) == {"first": "paused"})
        made = view.calls - before
        assert made.keys() - {f"/workspaces/{first.pk}"} == {f"/workspaces/{second.pk}"}
        # One that is new has a place in the order that the server knows.
        await elsewhere(online, name="another")
        await until(pilot, lambda: names(view) == ["another", "first"])
        assert view.calls["/workspaces"] > before["/workspaces"]

    watch(f"http://127.0.0.1:{stack.port}", play)


def test_what_happened_before_the_stream_opened_is_read_when_it_opens(stack, monkeypatch):
    monkeypatch.setattr("slipway.fleet_view._RELOAD_SECONDS", 10 * PATIENCE_SECONDS)
    monkeypatch.setattr("slipway.fleet_view._REFRESH_SECONDS", 10 * PATIENCE_SECONDS)
    stack.start("web", "relay")
    first, _ = online(name="first"), online(name="second")
    follow, opened = FleetView.read_events, threading.Event()

    def follow_late(view):
        opened.wait(PATIENCE_SECONDS)
        follow(view)

    monkeypatch.setattr(FleetView, "read_events", follow_late)

    async def play(view, pilot):
        await until(pilot, lambda: statuses(view) == {"first": "online", "second": "online"})
        # No event tells of it.
        await elsewhere(Workspace.objects.filter(pk=first.pk).update, name="renamed")
        opened.set()
        await until(pilot, lambda: statuses(view) == {"renamed": "online", "second": "online"})

    watch(f"http://127.0.0.1:{stack.port}", play)


def test_a_server_that_is_away_is_named_and_the_view_stays(monkeypatch):
    monkeypatch.setattr("slipway.client._PAUSE_SECONDS", 0)

    async def play(view, pilot):
        await until(pilot, lambda: "can't be reached" in str(view.query_one("#summary", Static).render()))

    watch("http://127.0.0.1:1", play)


def test_a_server_that_is_another_one_is_named_and_the_view_stays():
    async def play(view, pilot):
        await until(pilot, lambda: "Is this the address" in str(view.query_one("#summary", Static).render()))

    with serving(OddServer()) as server:
        watch(server.url, play)


def test_a_problem_stays_shown_when_the_terminal_changes_its_size(live_server, monkeypatch):
    monkeypatch.setattr("slipway.fleet_view._REFRESH_SECONDS", 10 * PATIENCE_SECONDS)
    online(name="n" * 80)

    async def play(view, pilot):
        summary = view.query_one("#summary", Static)
        await until(pilot, lambda: str(summary.render()).startswith("1 workspace "))
        view.show_problem("The server can't be reached.")
        await pilot.resize_terminal(60, 24)
        await until(pilot, lambda: len(names(view)[0]) == 60 / 3)
        assert str(summary.render()) == "The server can't be reached."
        view.show_fleet([])
        assert str(summary.render()) == f"0 workspaces   {live_server.url}"
        await pilot.resize_terminal(30, 24)
        await until(pilot, lambda: str(summary.render()) == f"0 workspaces\n{live_server.url}")

    watch(live_server.url, play, size=(80, 24))


def test_a_view_that_closes_leaves_no_call_of_its_readers_undone(monkeypatch):
    for name in ("client._PAUSE_SECONDS", "fleet_view._SHORTEST_SECONDS", "fleet_view._REFRESH_SECONDS"):
        monkeypatch.setattr(f"slipway.{name}", 0)
    before = threading.active_count()

    async def play(view, pilot):
        await until(pilot, lambda: "can't be reached" in str(view.query_one("#summary", Static).render()))

    for _ in range(5):
        # pytest makes an error of a coroutine that nobody ran.
        watch("http://127.0.0.1:1", play)
    wait_until(lambda: threading.active_count() <= before)
