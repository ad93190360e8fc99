"""Prometheus metrics of the relay and of delivery: how far behind they are, and what waits."""

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from events.delivery.channel_health import count_by_kind, oldest_due_at
from events.positions import count_unpositioned, last_position, oldest_unpositioned_at
from postgres.clock import database_now


def fanout_families() -> Iterator[Metric]:
    """Yield the metric families in a fixed number of queries. No label names a channel."""
    now = database_now()
    oldest, due = _age(oldest_unpositioned_at(), now), _age(oldest_due_at(now=now), now)
    for name, help_text, value in (
        ("events_unpositioned", "Events without a position that wait for the relay.", count_unpositioned()),
        ("events_last_position", "The last position that the relay gave to an event.", last_position()),
        ("relay_lag_seconds", "Age of the oldest event that waits for the relay, in seconds.", oldest),
        ("delivery_lag_seconds", "Time since the oldest first attempt became due, in seconds.", due),
    ):
        yield GaugeMetricFamily(f"slipway_{name}", help_text, value=value)
    labels = ["kind", "state"]
    family = GaugeMetricFamily("slipway_deliveries", "Deliveries that are waiting, being sent or dead.", labels=labels)
    for kind, state, number in count_by_kind():
        family.add_metric([kind, state], number)
    yield family


def _age(since: datetime | None, now: datetime) -> float:
    return (now - since).total_seconds() if since else 0.0
