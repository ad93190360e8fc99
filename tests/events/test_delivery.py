"""From a positioned event to its receivers: claims, order, retries, and what a receiver's answer leads to."""

import ipaddress
from collections import Counter
from uuid import uuid4

import pytest

from events.clock import database_now
from events.delivery import deliver_all_due
from events.models import Delivery, DeliveryState
from events.names import EventType
from tests.events.channels import signing_secret, webhook
from tests.events.conftest import online, publish
from tests.events.receivers import Receiver, receiving

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def receiver(settings):
    settings.DELIVERY_ALLOW_PRIVATE = [ipaddress.ip_network("127.0.0.0/8")]
    with receiving() as receiver:
        yield receiver


def states():
    return Counter(Delivery.objects.values_list("state", flat=True))


def make_due():
    """Let the pauses between attempts be over."""
    Delivery.objects.filter(state=DeliveryState.WAITING).update(next_attempt_at=database_now())


def test_an_event_reaches_its_receiver_signed_with_its_id_and_the_live_envelope(receiver: Receiver):
    channel = webhook(receiver.url, headers={"Authorization": "Bearer abc"})
    (event,) = publish(online(subject={"name": "w", "runtime": "echo", "ancestors": []}))
    assert deliver_all_due() == 1
    (message,) = receiver.messages(signing_secret(channel))
    assert message["id"] == str(event.id)
    assert message["type"] == EventType.WORKSPACE_ONLINE
    assert message["data"]["position"] == 1
    assert message["data"]["payload"] == {"version": 1}
    assert receiver.got[0].headers["authorization"] == "Bearer abc"
    assert states() == {DeliveryState.DELIVERED: 1}
    channel.refresh_from_db()
    assert channel.last_success_at is not None
    assert Delivery.objects.get().history[0]["response"] == "thanks"


def test_every_event_arrives_once_and_each_workspace_in_order(receiver: Receiver):
    channel = webhook(receiver.url)
    workspaces = [uuid4() for _ in range(7)]
    publish(*[online(workspace, version=version) for version in range(1, 21) for workspace in workspaces])
    assert deliver_all_due() == 140
    messages = receiver.messages(signing_secret(channel))
    assert len({message["id"] for message in messages}) == len(messages) == 140
    for workspace in workspaces:
        versions = [m["data"]["version"] for m in messages if m["data"]["workspace_id"] == str(workspace)]
        assert versions == list(range(1, 21))
