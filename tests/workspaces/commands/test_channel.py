"""`manage.py channel`: add, test and operate channels; secrets come from the input or a file."""

import io
import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from events.delivery.channel_operations import all_options, disable
from events.models import Channel, Delivery, DeliveryState
from postgres.clock import database_now
from tests.events.channels import factories
from tests.events.channels.conftest import loopback_allowed, receiver
from tests.events.channels.receivers import Answer
from tests.events.conftest import online, publish

__all__ = ["loopback_allowed", "receiver"]

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command("channel", *arguments, stdout=out, no_color=True)
    return out.getvalue()


@pytest.fixture
def types(monkeypatch):
    """Let the standard input hold these lines."""
    return lambda *lines: monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


@pytest.fixture
def log():
    run("add", "log", "audit", "--option", "level=INFO")
    return Channel.objects.get()


def test_a_webhook_is_added_with_a_url_from_the_input_and_headers_from_a_file(types, tmp_path, receiver):
    types(receiver.url)
    (tmp_path / "headers").write_text("Authorization: Bearer s3cr3t\nX-Team: ops\n")
    headers = f"headers={tmp_path / 'headers'}"
    filters = ("--event", "WORKSPACE_ONLINE", "--failure-code", "crashed", "--runtime", "hermes", "--runtime", "echo")
    arguments = ("--option", "is_https_only=false", "--secret", "url", "--secret-file", headers)
    text = run("add", "webhook", "ops", *arguments, *filters)
    channel = Channel.objects.get()
    secret = text.splitlines()[-1]
    assert secret == factories.signing_secret(channel)
    assert all_options(channel)["headers"] == {"Authorization": "Bearer s3cr3t", "X-Team": "ops"}
    assert channel.event_types == ["WORKSPACE_ONLINE"]
    assert (channel.failure_codes, channel.runtimes) == (["crashed"], ["hermes", "echo"])
    assert "accepted a test message: HTTP 200" in run("test", "ops")
    assert len(receiver.messages(secret)) == 1
    shown = run("list") + run("list", "--format", "json")
    for hidden in (secret, receiver.url, "s3cr3t"):
        assert hidden not in shown


def test_a_change_sets_what_is_named_and_drops_filters_and_the_rest_stays(log):
    workspace_id = "00000000-0000-4000-8000-000000000001"
    arguments = ("--event", "WORKSPACE_ONLINE", "--runtime", "echo", "--workspace", workspace_id, "--no-descendants")
    changed = run("change", "audit", "--name", "night", "--concurrency", "2", "--timeout", "3", *arguments)
    assert changed == f"Changed 1 channel, night (log, ID {log.pk}).\n"
    log.refresh_from_db()
    assert (log.name, log.concurrency, log.timeout_seconds, log.options) == ("night", 2, 3, {"level": "INFO"})
    assert (log.event_types, log.runtimes) == (["WORKSPACE_ONLINE"], ["echo"])
    assert (str(log.workspace_id), log.with_descendants) == (workspace_id, False)
    run("change", "night", "--option", "level=ERROR", "--without", "event", "--without", "workspace", "--descendants")
    log.refresh_from_db()
    assert (log.name, log.concurrency, log.options) == ("night", 2, {"level": "ERROR"})
    assert (log.event_types, log.workspace_id, log.with_descendants, log.runtimes) == ([], None, True, ["echo"])


def test_a_webhook_s_new_host_gets_a_new_signing_secret_which_is_printed_once(types):
    types("https://8.8.8.8/hook")
    run("add", "webhook", "ops", "--secret", "url")
    before = factories.signing_secret(Channel.objects.get())
    types("https://8.8.4.4/hook")
    shown = run("change", "ops", "--secret", "url").splitlines()
    assert shown[0].startswith("Changed 1 channel, ops (webhook, ID ")
    assert shown[-1] == factories.signing_secret(Channel.objects.get()) != before
    assert run("change", "ops", "--timeout", "5").count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), "Say what to change"),
        (("--concurrency", "33"), "concurrency"),
        (("--concurrency", "many"), "invalid int value"),
        (("--option", "level=LOUD"), "options.level"),
        (("--without", "level"), "invalid choice"),
        (("--event", "WORKSPACE_ONLINE", "--without", "event"), "Give --event or --without event, not both."),
        (("--name", ""), "name"),
    ],
)
def test_a_wrong_change_is_refused_and_changes_nothing(log, arguments, wanted):
    before = Channel.objects.values().get()
    with pytest.raises(CommandError, match=wanted) as refused:
        run("change", "audit", *arguments)
    assert refused.value.returncode == 2 or "invalid" in wanted
    assert Channel.objects.values().get() == before


def test_a_secret_among_the_arguments_is_refused():
    with pytest.raises(CommandError, match="Use --secret url") as refused:
        run("add", "webhook", "ops", "--option", "url=https://example.com/s3cr3t")
    assert "s3cr3t" not in str(refused.value)
    assert not Channel.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("pigeon", "x"), "There is no kind of channel 'pigeon'"),
        (("log", "x", "--option", "level"), "give NAME=VALUE"),
        (("log", "x", "--option", "level=LOUD"), "options.level"),
        (("log", "x", "--option", "colour=red"), "options.colour: There is no such field"),
        (("log", "x", "--event", "NO_SUCH"), "event_types"),
        (("log", "x", "--workspace", "x"), "workspace_id"),
        (("webhook", "x"), "options.url"),
        (("redis_stream", "x", "--option", "max_length=many"), "options.max_length: This must be a whole number"),
    ],
)
def test_a_wrong_channel_is_refused_by_name(arguments, wanted):
    with pytest.raises(CommandError, match=wanted) as refused:
        run("add", *arguments)
    assert refused.value.returncode == 2
    assert not Channel.objects.exists()


def test_pause_resume_enable_and_remove_say_what_they_did(log):
    assert run("pause", "audit") == "audit: 1 channels were paused.\n"
    assert run("pause", str(log.pk)) == "audit: 0 channels were paused.\n"
    assert "  paused  " in run("list")
    assert run("resume", "audit") == "audit: 1 channels were resumed.\n"
    disable(log, reason="Gone.")
    assert run("enable", "audit") == "audit: 1 channels were enabled.\n"
    assert run("remove", "audit") == "audit: 1 channels were removed.\n"
    assert run("list") == "0 channels.\n"


def test_dead_letters_are_sent_again_all_or_since_a_time(log):
    *_, newest = [publish(online()).get() for _ in range(3)]
    Delivery.objects.update(state=DeliveryState.DEAD, attempts=8, settled_at=database_now())
    assert "3 dead letters" in run("list")
    assert run("redrive", "audit", "--since", newest.created_at.isoformat()).startswith("audit: 1 dead")
    assert run("redrive", "audit", "--since", "2099-01-01T00:00+23:59").startswith("audit: 0 dead")
    assert run("redrive", "audit").startswith("audit: 2 dead")
    with pytest.raises(CommandError, match="not a time"):
        run("redrive", "audit", "--since", "soon")


def test_a_rotated_secret_is_printed_once(receiver):
    channel = factories.webhook(receiver.url, name="ops")
    old = factories.signing_secret(channel)
    new = run("rotate", "ops").splitlines()[-1]
    channel.refresh_from_db()
    assert factories.signing_secret(channel) == new != old
    factories.channel("log", {"level": "INFO"}, name="audit")
    with pytest.raises(CommandError, match="no signing secret"):
        run("rotate", "audit")


def test_a_test_that_is_not_accepted_is_an_error(receiver):
    factories.webhook(receiver.url, name="ops")
    receiver.answer = lambda request: Answer(500, body=b"oops\x1b[31m")
    with pytest.raises(CommandError, match=r"ops did not accept a test message: HTTP 500.*oops") as failed:
        run("test", "ops")
    assert failed.value.returncode == 1
    assert "\x1b" not in str(failed.value)


def test_json_is_for_scripts(log):
    (row,) = json.loads(run("list", "--format", "json"))
    assert (row["id"], row["name"], row["kind"], row["state"]) == (log.pk, "audit", "log", "sending")
    assert (row["options"], row["dead_letters"]) == ({"level": "INFO"}, 0)


@pytest.mark.parametrize("unknown", ["nobody", "999", "9" * 30, "\x1b[31m"])
def test_an_unknown_channel_is_named(unknown):
    with pytest.raises(CommandError, match="There is no channel") as refused:
        run("pause", unknown)
    assert refused.value.returncode == 2
    assert "\x1b" not in str(refused.value)


def test_a_name_wins_over_the_id_of_another(log):
    other = Channel.objects.create(name=str(log.pk), kind="log", options={"level": "INFO"})
    run("pause", str(log.pk))
    log.refresh_from_db(), other.refresh_from_db()
    assert (log.paused_at is None, other.paused_at is None) == (True, False)
