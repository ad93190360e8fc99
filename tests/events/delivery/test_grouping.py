"""Grouping: many equal events become one message on channels that people read."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest

from events.delivery.deliverer import deliver_all_due
from events.models import Delivery, DeliveryState
from events.names import EventType
from events.outbox import NewEvent
from postgres.clock import database_now
from tests.events.channels import factories
from tests.events.channels.factories import mattermost
from tests.events.conftest import publish

pytestmark = pytest.mark.django_db
WINDOW = timedelta(hours=1)


@pytest.fixture(autouse=True)
def long_window(settings):
    """Let no window end while a test runs."""
    settings.DELIVERY_FLOOD_SECONDS = WINDOW.total_seconds()


def test_many_equal_failures_become_one_message_with_a_count(receiver):
    factories.channel("chat", {"url": mattermost(receiver)})
    codes = ["crashed"] * 20 + ["missing_env"] * 2
    publish(*[failed_event(f"w{number}", code) for number, code in enumerate(codes)])
    assert deliver_all_due() == 22
    texts = [json.loads(request.body)["text"] for request in receiver.received]
    assert len(texts) == 3
    assert "20 × Provisioning failed: crashed" in texts[0]
    assert "w0, w1, " in texts[0]
    assert "and 10 more" in texts[0]
    # Mattermost shows an escaped underscore as it is.
    assert all(r"missing\_env" in text for text in texts[1:])

    # Further ones within the window are held, and then sent as one.
    publish(*[failed_event(f"v{number}", "crashed") for number in range(5)])
    assert deliver_all_due() == 0
    assert Delivery.objects.filter(state=DeliveryState.WAITING).count() == 5
    Delivery.objects.filter(state=DeliveryState.DELIVERED).update(settled_at=database_now() - 2 * WINDOW)
    Delivery.objects.filter(state=DeliveryState.WAITING).update(next_attempt_at=database_now())
    assert deliver_all_due() == 5
    assert "5 × Provisioning failed: crashed" in json.loads(receiver.received[-1].body)["text"]


def failed_event(name, code, workspace_id=None, version=1):
    return NewEvent(
        event_type=EventType.WORKSPACE_PROVISION_FAILED,
        workspace_id=workspace_id or uuid4(),
        version=version,
        payload={"error": "It broke.", "code": code},
        subject={"name": name, "runtime": "echo", "ancestors": []},
    )


def test_a_workspace_s_later_events_wait_behind_a_held_one(receiver):
    factories.channel("chat", {"url": mattermost(receiver)})
    publish(*[failed_event(f"w{number}", "crashed") for number in range(4)])
    deliver_all_due()
    held = uuid4()
    publish(failed_event("late", "crashed", held))
    assert deliver_all_due() == 0
    recovered = NewEvent(
        event_type=EventType.WORKSPACE_ONLINE, workspace_id=held, version=2, subject={"name": "late", "ancestors": []}
    )
    publish(recovered)
    assert deliver_all_due() == 0
    assert len(receiver.received) == 1


def test_a_webhook_gets_equal_events_singly(receiver):
    factories.webhook(receiver.url)
    publish(*[failed_event(f"w{number}", "crashed") for number in range(20)])
    assert deliver_all_due() == 20
    assert len(receiver.received) == 20
