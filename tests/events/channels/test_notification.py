"""Events as text for people."""

import json

import pytest

from events.channels.notification import notification_of, readable
from events.delivery import channel_operations
from events.names import EventType
from postgres.clock import database_now
from tests.events.channels import factories
from tests.events.channels.factories import mattermost, message

pytestmark = pytest.mark.django_db

EMOJI = "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}"
PERSIAN = "\u0646\u0645\u06cc\u200c\u062e\u0648"


@pytest.mark.parametrize("name", EventType.values)
def test_every_event_has_a_title_for_people(name, loopback_allowed):
    notification = notification_of([message(event_type=name, kind="outage", message="It was down.")])
    assert name not in notification.title
    assert notification.link.startswith("https://slipway.example.com/admin/")


@pytest.mark.parametrize(
    ("text", "line", "text_of_lines"),
    [
        ("disk full", "disk full", "disk full"),
        (" two\r\n  lines\n", "two lines", "two\n  lines"),
        ("safe \u202egnp.exe", "safe gnp.exe", "safe gnp.exe"),
        ("\u2066a\u2069\u200fb", "ab", "ab"),
        ("in\u200bstall\ufeff\u2060", "install", "install"),
        ("\x1b[31mred\x1b[0m\x07\0", "red", "red"),
        ("half \ud800", "half ?", "half ?"),
        ("\u200b\u2060", "", ""),
        (EMOJI, EMOJI, EMOJI),
        (PERSIAN, PERSIAN, PERSIAN),
        ("x" * 1501, "x" * 1500 + "…", "x" * 1500 + "…"),
        (5, "5", "5"),
    ],
    ids=lambda part: ascii(part)[:30],
)
def test_a_text_for_people_shows_all_it_holds_and_keeps_what_joins(text, line, text_of_lines):
    assert readable(text) == line
    assert readable(text, is_line=False) == text_of_lines


def test_a_test_message_says_that_it_is_one(receiver):
    channel_operations.send_test(factories.channel("chat", {"url": mattermost(receiver)}), now=database_now())
    assert json.loads(receiver.received[0].body)["text"].startswith(
        "A test of this channel\nWhy: A test of the channel chat"
    )
