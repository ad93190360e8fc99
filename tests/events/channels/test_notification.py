"""Events as text for people."""

import json

import pytest

from events.channels.notification import notification_of
from events.delivery import channel_operations
from events.names import EventType
from postgres.clock import database_now
from tests.events.channels import factories
from tests.events.channels.factories import mattermost, message

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", EventType.values)
def test_every_event_has_a_title_for_people(name, loopback_allowed):
    notification = notification_of([message(event_type=name, kind="outage", message="It was down.")])
    assert name not in notification.title
    assert notification.link.startswith("https://slipway.example.com/admin/")


def test_a_test_message_says_that_it_is_one(receiver):
    channel_operations.send_test(factories.channel("chat", {"url": mattermost(receiver)}), now=database_now())
    assert json.loads(receiver.received[0].body)["text"].startswith(
        "A test of this channel\nWhy: A test of the channel chat"
    )
