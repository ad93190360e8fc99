"""Tables in a terminal: what gives way if there is no place for all of it."""

import pytest
from rich.cells import cell_len
from slipway.commands import channel, events, launching, secret, verbs
from slipway.output import Format, show_one, show_rows
from slipway.workspace_columns import WORKSPACE_COLUMNS

TABLES = {
    "workspaces": WORKSPACE_COLUMNS,
    "verbs": verbs._COLUMNS,
    "channels": channel._COLUMNS,
    "events": events._COLUMNS,
    "secrets": secret._COLUMNS,
    "sets": secret._SET_COLUMNS,
    "templates": launching._TEMPLATE_COLUMNS,
}
ESSENTIAL = {"NAME": "nightly-import", "STATUS": "provisioning", "STATE": "failing", "EVENT": "WORKSPACE_ONLINE"}
WORKSPACE = {
    "id": "0b0dbf5a-4c4d-4b0b-8d0a-1f2e3d4c5b6a",
    "name": "nightly-import",
    "status": "awaiting_agent",
    "runtime": "claude-code",
    "created_at": "2026-01-31T12:00:00Z",
    "phase": "",
    "failure": {
        "code": "missing_env",
        "message": "Missing required environment variable OPENAI_API_KEY. Add it to this workspace's secrets or to the "
        "global secrets, then restart.",
    },
}


@pytest.fixture
def screen(monkeypatch, capsys):
    """Show something in a terminal of some columns, and return its lines."""

    def show(width, function, *arguments):
        terminal = {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": str(width)}
        for name, value in terminal.items():
            monkeypatch.setenv(name, value)
        function(*arguments, Format.TABLE)
        return capsys.readouterr().out.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()

    return show


@pytest.mark.parametrize(
    ("width", "whole"),
    [
        (40, ["NAME", "STATUS"]),
        (80, ["NAME", "STATUS", "RUNTIME", "AGE"]),
        (120, ["NAME", "STATUS", "RUNTIME", "AGE", "ID"]),
        (160, ["NAME", "STATUS", "RUNTIME", "AGE", "ID"]),
    ],
)
def test_a_long_failure_takes_no_place_from_names_and_statuses(screen, width, whole):
    header, line = screen(width, show_rows, [WORKSPACE], WORKSPACE_COLUMNS)
    values = [WORKSPACE_COLUMNS[title](WORKSPACE) for title in whole]
    assert line.split()[: len(whole)] == list(map(str, values))
    assert header.split()[: len(whole)] == whole
    if width >= 80:
        assert header.split() == ["NAME", "STATUS", "RUNTIME", "AGE", "ID", "DETAIL"]
        assert "0b0dbf5a" in line
        assert "missing_env:" in line or width == 80
        assert cell_len(line.rstrip()) == width


@pytest.mark.parametrize("width", [10, 20, 40, 80, 120])
@pytest.mark.parametrize("long", [0, 30, 87, 300])
@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_no_table_is_wider_than_the_terminal(screen, columns, long, width):
    shown = {title: lambda row, title=title: row[title] for title in columns}
    rows = [
        {title: ESSENTIAL.get(title, "a") for title in columns},
        {title: ESSENTIAL.get(title, "名" * long) for title in columns},
    ]
    lines = screen(width, show_rows, rows, shown)
    assert len(lines) == 3
    assert max(map(cell_len, lines)) <= width
    for title in ESSENTIAL.keys() & columns.keys() if width >= 40 else ():
        assert [ESSENTIAL[title] in line for line in lines] == [False, True, True]


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", ["x" * 87, "名前" * 60])
def test_a_very_long_name_leaves_place_for_statuses(screen, width, name):
    lines = screen(width, show_rows, [WORKSPACE | {"name": name}, WORKSPACE], WORKSPACE_COLUMNS)
    assert max(map(cell_len, lines)) <= width
    assert ["awaiting_agent" in line for line in lines] == [False, True, True]
    assert "nightly-import" in lines[2]
    assert ("missing_env" in lines[2]) == (width == 120)


@pytest.mark.parametrize("width", [20, 40, 80])
def test_no_field_of_an_answer_is_cut(screen, width):
    field, value = "key" * 40, "w" * 300
    lines = screen(width, show_one, {"id": "i" * 36, "agent_card": {field: value}})
    assert max(map(cell_len, lines)) <= width
    text = "".join(lines)
    assert (text.count("i"), text.count("w"), text.count("y")) == (36 + 1, 300, 40)


def test_a_pipe_gets_everything(capsys):
    names = ["n" * 3000, "short"]
    show_rows([WORKSPACE | {"name": name} for name in names], WORKSPACE_COLUMNS, Format.TABLE)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", *names]
    assert lines[1].endswith("then restart.")


def test_a_pipe_gets_each_field_in_one_line(capsys):
    message = "m" * 3000
    show_one({"name": "nightly", "failure": {"message": message}}, Format.TABLE)
    assert capsys.readouterr().out.splitlines() == ["name             nightly", f"failure.message  {message}"]
