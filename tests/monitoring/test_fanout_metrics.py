"""The metrics of relay and delivery."""

import re
from datetime import timedelta

import pytest

from events.models import Delivery, DeliveryState
from postgres.clock import database_now
from tests.events.channels.factories import webhook
from tests.events.conftest import online, publish, record

pytestmark = pytest.mark.django_db


def samples(client):
    text = client.get("/metrics").content.decode()
    return {name: float(value) for name, value in re.findall(r"^(slipway_\S+) (\S+)$", text, re.MULTILINE)}


def test_the_relays_lag_is_the_age_of_the_oldest_event_without_position(client):
    assert samples(client)["slipway_relay_lag_seconds"] == 0
    record(online())
    assert 0 < samples(client)["slipway_relay_lag_seconds"] < 60


def test_waiting_and_dead_deliveries_are_counted_by_kind(client):
    webhook("http://127.0.0.1:9/")
    publish(online(), online(), online())
    first = Delivery.objects.order_by("pk")[0]
    Delivery.objects.filter(pk=first.pk).update(state=DeliveryState.DEAD)
    Delivery.objects.filter(state=DeliveryState.WAITING).update(next_attempt_at=database_now() - timedelta(minutes=5))
    found = samples(client)
    assert found['slipway_deliveries{kind="webhook",state="waiting"}'] == 2
    assert found['slipway_deliveries{kind="webhook",state="dead"}'] == 1
    assert 300 <= found["slipway_delivery_lag_seconds"] < 360
