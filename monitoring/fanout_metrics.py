"""The way of events in numbers, for Prometheus: how far the relay is behind, and what waits for the channels."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from events.delivery.channel_health import count_by_kind, oldest_due_at
from events.positions import count_unpositioned, last_position, oldest_unpositioned_at
from postgres.clock import database_now


def fanout_families() -> Iterator[Metric]:
    """Yield the families, in a fixed number of queries. Names no channel."""
    now = database_now()
    for name, explanation, value in (
        ("events_unpositioned", "Events that wait for the relay.", count_unpositioned()),
        ("events_last_position", "The position given to an event last.", last_position()),
        ("relay_lag_seconds", "How long an event has waited for the relay.", _age(oldest_unpositioned_at(), now)),
        ("delivery_lag_seconds", "How long a first attempt has been due.", _age(oldest_due_at(now=now), now)),
    ):
        yield GaugeMetricFamily(f"slipway_{name}", explanation, value=value)
    family = GaugeMetricFamily("slipway_deliveries", "Deliveries that are not delivered.", labels=["kind", "state"])
    for kind, state, number in count_by_kind():
        family.add_metric([kind, state], number)
    yield family


def _age(since: datetime | None, now: datetime) -> float:
    return (now - since).total_seconds() if since else 0.0
