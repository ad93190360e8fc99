"""`slipway ls`, `get` and the verbs, against a real server."""

import uuid
from urllib.parse import urlsplit

import pytest
from slipway.commands.listing import watch_line
from slipway.errors import ExitCode
from slipway.output import Format
from slipway.workspace_columns import STATUS_STYLES

from postgres.clock import database_now
from tests.callers import AgentCaller
from tests.cli.conftest import new_key
from tests.config.api.lists.rows import fill
from tests.cut_proxy import cut_proxy
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting, external, failed, hibernated, online
from workspaces.api.listing import Listed
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiKey, ApiScope, Workspace
from workspaces.operations import pause, remove
from workspaces.services.core.secret_changes import set_secrets

pytestmark = pytest.mark.django_db(transaction=True)
HOSTILE = "\x1b]0;owned\x07\x1b[31mred\x1b[0m\x9b2J\u202e[bold]b\r\nx\x00\u200b:smile:"


def test_ls_shows_what_matches(signed_in):
    top = online(name="top", labels={"team": "search"})
    booting(name="boots", parent_id=top.pk)
    failed(name="fails")
    for arguments, found in (
        ([], ["boots", "fails", "top"]),
        (["--sort", "-name"], ["top", "fails", "boots"]),
        (["-s", "failed", "-s", "online"], ["fails", "top"]),
        (["--failure-code", "crashed"], ["fails"]),
        (["-l", "team=search"], ["top"]),
        (["--under", "top"], ["boots", "top"]),
        (["-q", "it broke"], ["fails"]),
        (["--limit", "2"], ["boots", "fails"]),
    ):
        assert signed_in.ok("ls", *arguments, "-o", "name").split() == found
        assert [row["name"] for row in signed_in.json("ls", *arguments)] == found
    lines = signed_in.ok("ls").splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["NAME", "STATUS"],
        ["boots", "provisioning"],
        ["fails", "failed"],
        ["top", "online"],
    ]
    assert "crashed: It broke." in lines[2]


def test_each_filter_of_the_api_has_an_option_of_ls(signed_in):
    top = online(name="top", labels={"team": "search"})
    booting(name="boots", parent_id=top.pk)
    echo = failed(name="fails", runtime="hermes")
    Workspace.objects.filter(pk=echo.pk).update(template="hermes", backend="simulated", secret_sets=["llm"])
    set_secrets({"KEY": "new"}, workspace_id=top.pk, by="ann")
    remove(online(name="old").pk)
    everything = ["boots", "fails", "top"]
    found = {
        "status": (["--status", "online"], ["top"]),
        "runtime": (["--runtime", "hermes"], ["fails"]),
        "template": (["--template", "hermes"], ["fails"]),
        "failure_code": (["--failure-code", "crashed"], ["fails"]),
        "backend": (["--backend", "process"], ["boots", "top"]),
        "label": (["--label", "team"], ["top"]),
        "secret_set": (["--secret-set", "llm"], ["fails"]),
        "subtree": (["--under", "top"], ["boots", "top"]),
        "q": (["--text", "it broke"], ["fails"]),
        "needs_restart": (["--needs-restart"], ["top"]),
        "include_removed": (["--removed"], ["boots", "fails", "old", "top"]),
        "sort": (["--sort", "-name"], everything[::-1]),
        "limit": (["--limit", "1"], ["boots"]),
    }
    # The command asks for one page after the other by itself.
    assert found.keys() == Listed.model_fields.keys() - {"cursor"}
    shown = {name: signed_in.ok("ls", *arguments, "-o", "name").split() for name, (arguments, _) in found.items()}
    assert shown == {name: names for name, (_, names) in found.items()}
    assert signed_in.ok("ls", "--no-needs-restart", "-o", "name").split() == ["boots", "fails"]
    assert signed_in.ok("ls", "--backend", "process", "--backend", "simulated", "-o", "name").split() == everything


LISTS = ("ls", "secret ls --global", "secret ls -w owner", "secret sets", "channel ls", "events -n 25")


@pytest.mark.parametrize("command", LISTS)
def test_a_list_does_not_end_at_its_first_page(signed_in, monkeypatch, command):
    monkeypatch.setattr("slipway.client._PAGE", 2)
    fill(5)
    assert len(signed_in.json(*command.split())) >= 5
    # A name is looked for in all pages, too.
    assert signed_in.json("channel", "get", "row 004")["name"] == "row 004"


def test_a_wrong_filter_is_refused_in_the_server_s_words(signed_in):
    ended = signed_in("ls", "-s", "asleep")
    assert (ended.code, ended.out, "status" in ended.err) == (2, "", True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ls", "-s", "asleep"], "--status: Input should be "),
        (["ls", "--sort", "age"], "--sort: Input should be "),
        (["ls", "-q", "x" * 500], "--text: "),
        (["channel", "add", "log", "new", "-e", "NOTHING"], "--event"),
        (["launch", "echo", "--timeout", 10**9], "--timeout: "),
    ],
)
def test_a_refusal_names_the_option(signed_in, arguments, said):
    ended = signed_in(*arguments)
    assert (ended.code, ended.err[: len(said)]) == (2, said)


def test_a_name_an_id_or_the_beginning_of_one_means_a_workspace(signed_in):
    first, second = online(name="Nightly review"), online(name="nightly")
    twins = [online(name="twin"), online(name="twin")]
    for text, meant in (
        (first.pk, first),
        ("Nightly review", first),
        ("nightly r", first),
        ("nightly", second),
        (str(second.pk)[:13], second),
    ):
        assert signed_in.json("get", text)["id"] == str(meant.pk)
    for text, said in (
        ("nigh", "may be one of 2 workspaces"),
        ("twin", str(twins[0].pk)),
        ("nihgtly", "Did you mean nightly"),
        (uuid.uuid4(), "There is no workspace"),
        ("x" * 300, "There is no workspace"),
    ):
        ended = signed_in("get", text)
        assert (ended.code, ended.out) == (4, "")
        assert said in ended.err
    assert signed_in("get", "").code == 2


@pytest.mark.parametrize(
    ("verb", "make", "status"),
    [
        ("restart", online, "provisioning"),
        ("pause", online, "paused"),
        ("hibernate", online, "hibernating"),
        ("wake", hibernated, "provisioning"),
        ("cancel", booting, "failed"),
    ],
)
def test_a_verb_changes_all_that_are_named(signed_in, verb, make, status):
    rows = [make(name="one"), make(name="two")]
    assert [line.split()[:2] for line in signed_in.ok(verb, "one", "two").splitlines()[1:]] == [
        ["one", status],
        ["two", status],
    ]
    assert [row.status for row in Workspace.objects.filter(pk__in=[row.pk for row in rows])] == [status] * 2


def test_resume_launches_what_a_pause_stopped(signed_in):
    workspace = online(name="nightly")
    pause(workspace.pk)
    assert "provisioning" in signed_in.ok("resume", "nightly")


def test_a_refused_verb_says_why_and_the_others_are_done(signed_in):
    failed(name="fails")
    online(name="works")
    ended = signed_in("hibernate", "fails", "works")
    assert (ended.code, "works  hibernating" in ended.out, "fails" in ended.err) == (5, True, True)


def test_a_cancel_without_a_launch_is_refused_in_its_own_words(signed_in):
    online(name="works")
    assert signed_in("cancel", "works") == (5, "", "works is online: it has no launch that could be cancelled.\n")


def test_nothing_is_done_if_one_name_is_unknown(signed_in):
    workspace = online(name="works")
    assert signed_in("pause", "works", "wroks").code == 4
    workspace.refresh_from_db()
    assert workspace.status == WorkspaceStatus.ONLINE


def test_a_restarted_external_workspace_shows_its_new_token_once(signed_in):
    external(name="outside")
    out = signed_in.ok("restart", "outside")
    assert "auth_token" in out
    assert "registry_endpoint" in out


def test_ls_and_get_show_what_an_agent_says_of_its_boot_step(signed_in):
    workspace = booting(name="nightly")
    AgentCaller(workspace).progress(step="install", detail="12 of 42 packages")
    assert "booting · install · 12 of 42 packages" in signed_in.ok("ls", "-o", "table")
    assert "12 of 42 packages" in signed_in.ok("get", "nightly")
    assert signed_in.json("get", "nightly")["progress_detail"] == "12 of 42 packages"


def test_rm_asks_first(signed_in):
    top = online(name="top")
    online(name="below", parent_id=top.pk)
    ended = signed_in("rm", "top")
    assert (ended.code, ended.out, "add --yes" in ended.err) == (2, "", True)
    assert signed_in("rm", "top", "--yes").code == 5
    assert Workspace.objects.not_removed().count() == 2
    assert "removed" in signed_in.ok("rm", "top", "--yes", "--recursive")
    assert Workspace.objects.not_removed().count() == 0
    assert signed_in("get", top.pk).code == 5
    assert signed_in.json("get", top.pk, "--removed")["status"] == "removed"


def test_a_key_without_the_scope_changes_nothing(cli, live_server):
    cli.sign_in(live_server.url, ApiScope.READ)
    workspace = online(name="nightly")
    ended = cli("pause", "nightly")
    assert (ended.code, "operate" in ended.err) == (3, True)
    workspace.refresh_from_db()
    assert workspace.status == WorkspaceStatus.ONLINE


def test_a_server_that_is_away_or_is_another_one_is_named(cli, monkeypatch, live_server):
    monkeypatch.setattr("slipway.client._PAUSE_SECONDS", 0)
    monkeypatch.setenv("SLIPWAY_KEY", new_key())
    monkeypatch.setenv("SLIPWAY_URL", "http://127.0.0.1:1")
    ended = cli("ls")
    assert (ended.code, "http://127.0.0.1:1 can't be reached" in ended.err) == (6, True)
    monkeypatch.setenv("SLIPWAY_URL", f"{live_server.url}/elsewhere")
    assert cli("ls").code == 4


@pytest.mark.parametrize("output", list(Format))
def test_nothing_that_a_server_sends_reaches_the_terminal_as_a_command(signed_in, output):
    workspace = failed(name="hostile")
    texts = {"name": HOSTILE.replace("\0", ""), "failure_message": HOSTILE.replace("\0", "")}
    Workspace.objects.filter(pk=workspace.pk).update(**texts, failure_log_tail=texts["name"], role=texts["name"])
    for arguments in (["ls"], ["get", workspace.pk], ["restart", workspace.pk], ["events"]):
        ended = signed_in(*arguments, "-o", output)
        assert ended.code == 0, ended
        written = ended.out + ended.err
        assert [each for each in written if not each.isprintable() and each != "\n"] == []
        assert "owned" not in written or output in (Format.JSON, Format.YAML)
    assert "[bold]b" in signed_in.ok("ls")


def test_a_watched_line_is_harmless(signed_in):
    workspace = online(name="w")
    row = signed_in.json("get", workspace.pk) | {"name": HOSTILE, "progress_step": HOSTILE}
    for output in Format:
        assert [each for each in watch_line(row, output) if not each.isprintable() and each != "\t"] == []


def test_every_status_has_its_colour():
    assert set(STATUS_STYLES) == set(WorkspaceStatus.values)


def test_colours_are_for_terminals_and_only_without_no_color(signed_in, monkeypatch):
    online(name="nightly")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in signed_in.ok("ls")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in signed_in.ok("ls")
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b" not in signed_in.ok("ls")


def test_watching_writes_a_line_for_each_change(signed_in):
    workspace = online(name="nightly")
    with signed_in.running("ls", "--watch") as watching:
        watching.wait_for(lambda run: run.lines == [f"nightly\tonline\t{workspace.pk}"])
        pause(workspace.pk)
        watching.wait_for(lambda run: run.lines[1:] == [f"nightly\tpaused\t{workspace.pk}"])


def test_watching_goes_on_when_the_server_is_back(signed_in, live_server):
    workspace = online(name="nightly")
    with cut_proxy(to_port=urlsplit(live_server.url).port) as proxy:
        signed_in.sign_in(f"http://127.0.0.1:{proxy.port}")
        with signed_in.running("ls", "--watch", "-o", "name") as watching:
            watching.wait_for(lambda run: run.lines == ["nightly"])
            proxy.cut()
            watching.wait_for(lambda run: "Asking again." in run.errors)
            Workspace.objects.filter(pk=workspace.pk).update(name="daily")
            proxy.restore()
            watching.wait_for(lambda run: run.lines == ["nightly", "daily"])
            assert watching.errors.count("Asking again.") == 1


def test_watching_ends_if_the_server_refuses_or_was_never_reached(signed_in, monkeypatch):
    online(name="nightly")
    with signed_in.running("ls", "--watch") as watching:
        watching.wait_for(lambda run: run.lines)
        ApiKey.objects.update(revoked_at=database_now())
        assert watching.process.wait(PATIENCE_SECONDS) == ExitCode.NOT_ALLOWED
    monkeypatch.setattr("slipway.client._PAUSE_SECONDS", 0)
    monkeypatch.setenv("SLIPWAY_KEY", "key")
    monkeypatch.setenv("SLIPWAY_URL", "http://127.0.0.1:1")
    assert signed_in("ls", "--watch").code == ExitCode.UNAVAILABLE
