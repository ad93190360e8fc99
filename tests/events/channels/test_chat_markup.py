"""Texts from agents, configurations and names in each chat, against stand-ins that apply each service's own rules."""

import json

import pytest

from events.channels.chat.markup import MARKUPS, Markup, written
from events.channels.notification import Notification
from tests.events.channels.chat_services import HOSTILE, NAME, SERVICES, named
from tests.events.channels.factories import failure, sending

pytestmark = pytest.mark.django_db


@pytest.fixture(params=SERVICES.values(), ids=SERVICES)
def service(request):
    return request.param


def shown(service, receiver, monkeypatch, messages):
    """Send the messages as one, and return what the service shows."""
    url = service.stand_in(receiver, monkeypatch)
    with sending("chat", {"url": url}) as sender:
        sender.send(messages)
    (request,) = receiver.received
    return service.shown(request)


def visible(text):
    return text.replace("\u200b", "")


@pytest.mark.parametrize(("error", "readable"), HOSTILE.items())
def test_hostile_text_is_shown_as_it_is_and_mentions_nobody(service, receiver, monkeypatch, error, readable):
    failed = named(failure(error=error), NAME)
    got = shown(service, receiver, monkeypatch, [failed])
    assert (got.pings, got.markup) == ([], [])
    expected = f"Why: {readable}"
    if not service.has_title:
        expected = f"{NAME} failed (crashed)\n{expected}"
    assert visible(got.text).startswith(expected[:250])
    assert got.text.endswith(f"/admin/workspaces/workspace/{failed.event.workspace_id}/change/")


@pytest.mark.parametrize(
    "error", ["x" * 60_000, "<" * 60_000, "@*" * 30_000, "😀é漢" * 20_000], ids=["x", "<", "@*", "😀"]
)
def test_a_text_beyond_the_service_s_limit_is_cut_and_keeps_the_link(service, receiver, monkeypatch, error):
    failed = named(failure(error=error), "long " * 200)
    got = shown(service, receiver, monkeypatch, [failed])
    assert (got.pings, got.markup) == ([], [])
    assert "…\n" in got.text
    assert got.text.endswith(f"/admin/workspaces/workspace/{failed.event.workspace_id}/change/")


def test_a_group_of_twelve_long_names_fits_and_keeps_the_link(service, receiver, monkeypatch):
    many = [named(failure(number, error="It broke. " * 200), f"{number} {NAME} " * 20) for number in range(12)]
    got = shown(service, receiver, monkeypatch, many)
    assert (got.pings, got.markup) == ([], [])
    assert got.text.endswith("https://slipway.example.com/admin/events/event/")


def test_a_text_fits_beside_those_whom_the_operator_s_own_url_mentions(receiver, monkeypatch):
    url = SERVICES["discord"].stand_in(receiver, monkeypatch) + "?ping=everyone,@123456789012345678"
    with sending("chat", {"url": url}) as sender:
        sender.send([failure(error="x" * 5000)])
    content = json.loads(receiver.received[0].body)["content"]
    assert content.endswith(" <@123456789012345678>")
    assert "/change/" in content


@pytest.mark.parametrize("markup", MARKUPS.values(), ids=MARKUPS)
def test_a_text_cut_at_any_length_stays_within_it_and_halves_no_escape(markup):
    text = "# <@U1> *ä* &amp; [x](y)\n> 😀\\`"
    beginnings = {markup.escape(text[:length], limit=10_000) for length in range(len(text) + 1)}
    for limit in range(3, 80):
        cut = markup.escape(text, limit=limit)
        assert markup.size(cut) <= limit
        assert cut in beginnings or (cut.endswith("…") and cut[:-1] in beginnings)


def test_a_cut_takes_a_time_that_grows_with_the_limit_and_not_with_the_text():
    pieces = []

    class Counting(dict):
        def get(self, key, default=None):
            pieces.append(key)
            return default

    Markup(escapes=Counting()).escape("x" * 1_000_000, limit=100)
    assert len(pieces) < 110


def test_a_title_of_its_own_is_cut_and_mentions_nobody():
    notification = Notification(title="@all " * 100, facts=[("Why", "x")], link="https://example.com", is_bad=True)
    title, body = written(notification, markup=MARKUPS["zulip"], title_limit=60, body_limit=1000)
    assert title.startswith("@\u200ball")
    assert len(title) <= 60
    assert body == "Why: x\nhttps://example.com"
