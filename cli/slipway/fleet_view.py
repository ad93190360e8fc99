"""`slipway top`: the fleet as it is now, in the terminal."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.css.query import NoMatches
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from slipway.answers import shapes
from slipway.client import Client
from slipway.errors import CommandFailed
from slipway.live_stream import live_events
from slipway.output import cell
from slipway.texts import one_line, printable
from slipway.workspace_columns import STATUS_STYLES, WORKSPACE_COLUMNS

_REFRESH_SECONDS = 2.0
_SHORTEST_SECONDS = 0.4
# While the stream of events is open, all workspaces are read only this often, for what no event tells.
_RELOAD_SECONDS = 30.0
# Reading more of them one by one takes longer than reading all.
_MOST_SINGLY = 10
_GONE = (404, 410)
_MOST = 2000
_SORTS = ("name", "-created_at", "runtime")
_KEPT_EVENTS = 500
# The ID comes last, so that there is place for the detail.
_COLUMNS = {title: WORKSPACE_COLUMNS[title] for title in ("NAME", "STATUS", "RUNTIME", "AGE", "DETAIL", "ID")}
# A longer value would push the other columns out of sight: of a name this part of the view, of others so many columns.
_NAME_PART = 3
_CUT = {"STATUS": 16, "RUNTIME": 16}
_SHORTEST_NAME = 16
# What stands between the parts of the summary.
_BETWEEN = "   "
# They come every few seconds from each workspace, and say little that the table shows.
CHATTER = ("WORKSPACE_HEARTBEAT",)


class FleetView(App[None]):
    """The workspaces with their statuses above the events. An event refreshes its own workspace."""

    TITLE = "slipway top"
    CSS = """
    #summary { height: auto; padding: 0 1; background: $panel; }
    #fleet { height: 2fr; scrollbar-size: 1 1; }
    #events { height: 1fr; border-top: solid $primary; padding: 0 1; scrollbar-size: 1 1; }
    #filter { display: none; }
    #filter.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "Quit"),
        ("slash", "filter", "Filter"),
        ("s", "sort", "Sort"),
        ("f", "failed", "Failed"),
        ("escape", "show_all", "All"),
    ]

    def __init__(self, client: Client, *, text: str = "") -> None:
        super().__init__()
        self._client = client
        self._query: dict[str, Any] = {"q": text, "sort": _SORTS[0], "status": None}
        self._is_stale = Event()
        self._changed: SimpleQueue[str] = SimpleQueue()
        self._is_live = False
        self._reload_at = 0.0
        self._names: dict[str, str] = {}
        # None until they were read once.
        self._rows: list[dict[str, Any]] | None = None
        self._problem = ""
        self._is_open = True
        self._calling = Lock()

    def compose(self) -> ComposeResult:
        """Lay out the summary, the workspaces, the events and the keys."""
        yield Static(id="summary", markup=False)
        yield DataTable(id="fleet", cursor_type="row", zebra_stripes=True)
        yield RichLog(id="events", max_lines=_KEPT_EVENTS, markup=False, highlight=False, wrap=False)
        yield Input(self._query["q"], id="filter", placeholder="a text in the name, role, runtime, failure or labels")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Begin to refresh and to follow the events."""
        self.show_rows([])
        self.query_one("#fleet").focus()
        for read in (self.read_fleet, self.read_events):
            # Threads that don't delay the end: they may wait for an answer of the server.
            Thread(target=until_closed, args=(read,), daemon=True).start()

    async def on_unmount(self) -> None:
        """Let what a thread calls now end, and no thread call again: nobody would run that."""
        await asyncio.to_thread(self.refuse_calls)

    def refuse_calls(self) -> None:
        """From now on, refuse what other threads call. Not for the view's own thread, which runs their calls."""
        with self._calling:
            self._is_open = False

    def show_from_thread(self, show: Callable[..., None], *values: Any) -> None:
        """Call a method in the view's own thread, and return when it has ended. RuntimeError: the view is closed."""
        with self._calling:
            if not self._is_open:
                raise RuntimeError("The view is closed.")
            self.call_from_thread(show, *values)

    def read_fleet(self) -> None:
        """Read the workspaces again and again, and show them, or why they can't be read."""
        rows: dict[str, Any] = {}
        while True:
            self._is_stale.clear()
            try:
                rows = self.read_rows(rows)
            except CommandFailed as error:
                self._reload_at = 0.0
                self.show_from_thread(self.show_problem, one_line(error))
            else:
                self.show_from_thread(self.show_fleet, list(rows.values()))
            # Events may come faster than a fleet can be read.
            time.sleep(_SHORTEST_SECONDS)
            self._is_stale.wait(_REFRESH_SECONDS - _SHORTEST_SECONDS)

    def read_rows(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Return the workspaces by their IDs: all read anew, or only those that events named. Raises CommandFailed.

        All are read if no stream is open, a filter holds, which the server applies, or one is new: it knows the place.
        """
        changed = {self._changed.get() for _ in range(self._changed.qsize())}
        is_filtered = bool(self._query["q"] or self._query["status"])
        is_known = changed <= rows.keys() or len(rows) >= _MOST
        is_due = not self._is_live or time.monotonic() >= self._reload_at or (changed and is_filtered)
        if is_due or not is_known or len(changed) > _MOST_SINGLY:
            self._reload_at = time.monotonic() + _RELOAD_SECONDS
            found = self._client.pages("/workspaces", self._query, shape=shapes.WORKSPACE, most=_MOST)
            return {row["id"]: row for row in found}
        for workspace_id in changed & rows.keys():
            try:
                rows[workspace_id] = self._client.get(f"/workspaces/{workspace_id}", shape=shapes.WORKSPACE)
            except CommandFailed as error:
                if error.status not in _GONE:
                    raise
                del rows[workspace_id]
        return rows

    def read_events(self) -> None:
        """Show each event when it happens, or why none can be read."""
        try:
            for envelope in live_events(self._client, {}, tell=self.show_interruption, on_open=self.note_opening):
                if envelope["event"] not in CHATTER:
                    subject = self._names.get(envelope["workspace_id"], envelope["workspace_id"] or "")
                    if envelope["workspace_id"]:
                        self._changed.put(envelope["workspace_id"])
                        self._is_stale.set()
                    event = one_line(envelope["event"])
                    line = f"{one_line(envelope['timestamp'])[11:19]}  {event:<26}  {one_line(subject)}"
                    self.show_from_thread(self.show_event, line)
        except CommandFailed as error:
            self.show_interruption(str(error))

    def note_opening(self) -> None:
        """Read all workspaces once more: what happened between the last reading and now comes with no event."""
        self._is_live = True
        self.reload()

    def show_interruption(self, text: str) -> None:
        """Show why no events come. Until they do, all workspaces are read each time."""
        self._is_live = False
        self.show_from_thread(self.show_event, text)

    def show_event(self, text: str) -> None:
        """Add a line to the events."""
        self.query_one("#events", RichLog).write(Text(printable(text)))

    def show_fleet(self, rows: list[dict[str, Any]]) -> None:
        """Show these workspaces, and how many have each status."""
        self._names |= {row["id"]: row["name"] for row in rows}
        self._rows, self._problem = rows, ""
        self.show_rows(rows)
        self.show_counts(rows)

    def show_counts(self, rows: list[dict[str, Any]]) -> None:
        """Show how many of these workspaces have each status."""
        searched = one_line(self._query["q"])[:_SHORTEST_NAME]
        noun = "workspace" if len(rows) == 1 else "workspaces"
        parts = [Text(f"{len(rows)} {noun}{' with ' * bool(searched)}{searched}")]
        counts = Counter(one_line(row["status"]) for row in rows)
        for status, count in counts.most_common():
            parts.append(Text(f"{count} {status.replace('_', ' ')}", style=STATUS_STYLES.get(status, "")))
        self.query_one("#summary", Static).update(flowing([*parts, Text(self._client.url)], self.size.width - 2))

    def show_rows(self, rows: list[dict[str, Any]]) -> None:
        """Replace the lines of the table. The cursor stays at its line."""
        table = self.query_one("#fleet", DataTable)
        cursor, left, top = table.cursor_row, table.scroll_x, table.scroll_y
        # Where the table is scrolled to while it still moves there. Wheel and arrow keys count from it.
        target_left, target_top = table.scroll_target_x, table.scroll_target_y
        table.clear(columns=True)
        table.add_columns(*_COLUMNS)
        most = {"NAME": max(self.size.width // _NAME_PART, _SHORTEST_NAME), **_CUT}
        for row in rows:
            cells = {title: cell(column(row)) for title, column in _COLUMNS.items()}
            for title, width in most.items():
                cells[title].truncate(width, overflow="ellipsis")
            table.add_row(*cells.values(), key=row["id"])
        table.move_cursor(row=min(cursor, max(len(rows) - 1, 0)), scroll=False)
        table.scroll_x, table.scroll_y = left, top
        table.scroll_target_x, table.scroll_target_y = target_left, target_top

    def on_resize(self) -> None:
        """Lay out anew what was read, once this event has told the view its size."""
        self.call_next(self.lay_out)

    def lay_out(self) -> None:
        """Show what was read for the present size. A problem stays in place of the counts."""
        if self._rows is not None:
            self.show_rows(self._rows)
            if not self._problem:
                self.show_counts(self._rows)

    def show_problem(self, text: str) -> None:
        """Show why the workspaces can't be read. Those that were read stay."""
        self._problem = text
        self.query_one("#summary", Static).update(Text(text, style="bold red"))

    def action_filter(self) -> None:
        """Let the user type a text to filter by."""
        field = self.query_one("#filter", Input)
        field.add_class("shown")
        field.focus()
        self.refresh_bindings()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter by what was typed so far."""
        self._query["q"] = event.value
        self.refresh_bindings()
        self.reload()

    def on_input_submitted(self) -> None:
        """Close the filter. It still holds."""
        self.query_one("#filter").remove_class("shown")
        self.query_one("#fleet").focus()
        self.refresh_bindings()

    def action_show_all(self) -> None:
        """Close the filter, and show what it and `f` left out."""
        self._query["status"] = None
        self.query_one("#filter", Input).clear()
        self.on_input_submitted()
        self.reload()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether a key does something now."""
        if action != "show_all":
            return super().check_action(action, parameters)
        return bool(self._query["q"] or self._query["status"] or self.query("#filter.shown"))

    def action_sort(self) -> None:
        """Sort by the next column: name, age, runtime."""
        place = _SORTS.index(self._query["sort"])
        self._query["sort"] = _SORTS[(place + 1) % len(_SORTS)]
        self.reload()

    def action_failed(self) -> None:
        """Show only failed workspaces, or all again."""
        self._query["status"] = None if self._query["status"] else "failed"
        self.refresh_bindings()
        self.reload()

    def reload(self) -> None:
        """Have all workspaces read anew."""
        self._reload_at = 0.0
        self._is_stale.set()


def flowing(parts: list[Text], width: int) -> Text:
    """Return the parts in as few lines as they fit in, none of them divided unless it is too long for a line."""
    lines = [parts[0]]
    for part in parts[1:]:
        if lines[-1].cell_len + len(_BETWEEN) + part.cell_len <= width:
            lines[-1] = Text(_BETWEEN).join([lines[-1], part])
        else:
            lines.append(part)
    return Text("\n").join(lines)


def until_closed(read: Callable[[], None]) -> None:
    """Run a reader until the view is closed: its calls are refused, and the widgets gone."""
    with suppress(RuntimeError, NoMatches):
        read()
