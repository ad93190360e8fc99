"""`slipway channel`, with a real receiver."""

import pytest

from events.delivery.channel_operations import all_options
from events.models import Channel, Delivery, DeliveryState
from tests.cli.conftest import ALL_SCOPES
from tests.events.channels.conftest import loopback_allowed, receiver
from tests.events.channels.receivers import Answer
from tests.events.conftest import online, publish
from workspaces.models import ApiScope

__all__ = ["loopback_allowed", "receiver"]
pytestmark = pytest.mark.django_db(transaction=True)
# YAML that no JSON says, or that PyYAML itself can't read.
NO_JSON = [
    *("!!binary aGk=", "!!set {a}", ".nan", "-.inf", "&a [*a]", "{? [a] : b}", '"\\ud800"', f"0x{'f' * 5000}"),
    *("!!bool maybe", "!!int ''", "!!timestamp x", "!!float ''", "[" * 2000),
]
NO_OPTIONS = ["options:\n", "options: x\n", "options: [level]\n"]
ADD = ["channel", "add", "webhook", "ops", "--option", "is_https_only=false", "--secret", "url"]


def test_a_webhook_is_added_tested_changed_and_removed(signed_in, receiver, tmp_path):
    (tmp_path / "more.yaml").write_text("concurrency: 2\noptions: {headers: {X-Key: s3cr3t-of-a-header}}\n")
    added = signed_in.ok(
        *ADD, "-e", "WORKSPACE_ONLINE", "--from-file", tmp_path / "more.yaml", stdin=f"{receiver.url}\n"
    )
    assert "signing_secret" in added
    channel = Channel.objects.get()
    assert (channel.event_types, channel.concurrency) == (["WORKSPACE_ONLINE"], 2)
    assert all_options(channel)["headers"] == {"X-Key": "s3cr3t-of-a-header"}
    assert "HTTP 200" in signed_in.ok("channel", "test", "ops")
    assert receiver.received[0].headers["x-key"] == "s3cr3t-of-a-header"
    signed_in.ok("channel", "set", "op", "--name", "night shift", "--runtime", "hermes")
    [row] = signed_in.json("channel", "ls")
    assert (row["name"], row["runtimes"], row["event_types"]) == ("night shift", ["hermes"], ["WORKSPACE_ONLINE"])
    assert signed_in("channel", "rm", "night").code == 2
    assert "Removed 1 channel" in signed_in.ok("channel", "rm", str(channel.pk), "--yes")
    assert Channel.objects.count() == 0


@pytest.mark.parametrize("command", [["add", "webhook", "ops"], ["set", "ops"]], ids=["add", "set"])
def test_fields_and_secrets_cannot_both_be_the_standard_input(signed_in, receiver, command):
    if command[0] == "set":
        signed_in.ok(*ADD, stdin=f"{receiver.url}\n")
    ended = signed_in("channel", *command, "--from-file", "-", "--secret", "url", stdin="concurrency: 2\n")
    assert (ended.code, ended.out) == (2, "")
    assert "Only one of these can read the standard input: --from-file, --secret." in ended.err


def test_no_secret_of_a_channel_is_shown_again(signed_in, receiver):
    added = signed_in.ok(*ADD, "-o", "json", stdin=f"{receiver.url}\n")
    secret = next(line for line in added.splitlines() if "signing_secret" in line).split('"')[3]
    shown = signed_in.ok("channel", "ls", "-o", "json") + signed_in.ok("channel", "get", "ops")
    assert receiver.url not in shown
    assert secret not in shown
    rotated = signed_in.ok("channel", "rotate", "ops")
    assert "signing_secret" in rotated
    assert secret not in rotated


def test_a_channel_is_paused_and_resumed_and_its_dead_letters_are_sent_again(signed_in, receiver):
    signed_in.ok(*ADD, stdin=f"{receiver.url}\n")
    assert signed_in.json("channel", "pause", "ops")[0]["state"] == "paused"
    assert signed_in.json("channel", "resume", "ops")[0]["state"] != "paused"
    publish(online(), online())
    Delivery.objects.update(state=DeliveryState.DEAD)
    for arguments, number in ((["--since", "2999-01-01T00:00Z"], 0), ([], 2)):
        assert signed_in.ok("channel", "redrive", "ops", *arguments) == f"{number} dead letters are sent again.\n"
    Channel.objects.update(is_enabled=False)
    assert signed_in.json("channel", "enable", "ops")[0]["is_enabled"]


def test_a_test_that_the_receiver_refuses_fails(signed_in, receiver):
    signed_in.ok(*ADD, stdin=f"{receiver.url}\n")
    receiver.answer = lambda request: Answer(status=500, body=b"\x1b[31mno")
    ended = signed_in("channel", "test", "ops")
    assert (ended.code, "500" in ended.out, "\x1b" in ended.out) == (1, True, False)


def test_a_date_is_a_text_and_aliases_that_grow_are_not_written_out(signed_in, tmp_path):
    (tmp_path / "fields.yaml").write_text("options: {group: 2026-01-31, at: 2026-01-31T12:00:00Z}\n")
    ended = signed_in("channel", "add", "log", "x", "--from-file", tmp_path / "fields.yaml")
    assert (ended.code, "group" in ended.err, "date" in ended.err) == (2, True, False)
    levels = ["a0: &a0 [xxxxxxxxxx]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    (tmp_path / "fields.yaml").write_text("\n".join(levels))
    ended = signed_in("channel", "add", "log", "x", "--from-file", tmp_path / "fields.yaml")
    assert (ended.code, "more than 1 MiB" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "webhok", "x"], 2, "kind"),
        (["add", "log", "x", "--option", "level"], 2, "NAME=VALUE"),
        (["add", "log", "x", "--option", "level=["], 2, "YAML"),
        *((["add", "log", "x", "--option", f"level={text}"], 2, "--option level") for text in NO_JSON),
        *(
            (["set", "known", "--from-file", text, "--option", "level=info"], 2, "options is no mapping")
            for text in NO_OPTIONS
        ),
        (["add", "log", "x", "-e", "WORKSPACE_ONLIN"], 2, "--event"),
        (["add", "log", "x", "-w", "unknown"], 4, "There is no workspace"),
        (["test", "unknown"], 4, "There is no channel 'unknown'"),
        (["redrive", "known", "--since", "yesterday"], 2, "since"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_changes(signed_in, tmp_path, arguments, code, said):
    signed_in.ok("channel", "add", "log", "known")
    (tmp_path / "fields.yaml").write_text("".join(each for each in arguments if each in NO_OPTIONS))
    ended = signed_in("channel", *[tmp_path / "fields.yaml" if each in NO_OPTIONS else each for each in arguments])
    assert (ended.code, said in ended.err) == (code, True), ended
    assert Channel.objects.count() == 1


def test_only_an_admin_adds_channels(cli, live_server):
    cli.sign_in(live_server.url, *[scope for scope in ALL_SCOPES if scope != ApiScope.ADMIN])
    assert cli("channel", "add", "log", "x").code == 3
    assert Channel.objects.count() == 0
