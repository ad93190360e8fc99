"""Prometheus metrics of the fleet, read from the database at each scrape. No label names a workspace."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta

import redis
from django.db.models import Count, Min
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.fanout_metrics import fanout_families
from postgres.clock import database_now
from workspaces.deadlines.false_timeouts import false_timeouts_by_runtime
from workspaces.enqueue import queue_length
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Launch, Workspace
from workspaces.provisioners.kinds import LAUNCHED_KINDS
from workspaces.services.watching.sweep import last_sweep_run
from workspaces.workers import QUEUES

# What is counted over time goes back this far, so that a scrape does not read all history.
WINDOW = timedelta(hours=24)


class FleetCollector(Collector):
    """Collects all metrics in a fixed number of queries, whatever the size of the fleet."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        now = database_now()
        yield from fleet_families(now=now)
        yield from deadline_failure_families(now=now)
        yield from sweep_families(now=now)
        yield from queue_families()
        yield from fanout_families()


def render_metrics() -> bytes:
    """Return all metrics in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(FleetCollector())
    return generate_latest(registry)


def fleet_families(*, now: datetime) -> Iterator[Metric]:
    """Yield how many workspaces and launches there are, and how long the oldest queued launch has waited."""
    workspaces = GaugeMetricFamily("slipway_workspaces", "Workspaces.", labels=["status", "runtime"])
    counted = Workspace.objects.order_by().values_list("status", "runtime").annotate(number=Count("pk"))
    for status, runtime, number in counted:
        workspaces.add_metric([str(status), runtime], number)
    yield workspaces
    launches = GaugeMetricFamily(
        "slipway_launches", "Launches that were queued in the last 24 hours.", labels=["outcome", "failure_code"]
    )
    ended = (
        Launch.objects.filter(queued_at__gt=now - WINDOW)
        .order_by()
        .values_list("outcome", "failure_code")
        .annotate(number=Count("pk"))
    )
    for outcome, failure_code, number in ended:
        launches.add_metric([outcome, failure_code], number)
    yield launches
    queued = Workspace.objects.provisioning().filter(phase=Phase.QUEUED)
    since = queued.aggregate(since=Min("phase_entered_at"))["since"]
    waited = (now - since).total_seconds() if since else 0.0
    help_text = "How long the oldest queued launch has waited, in seconds."
    yield GaugeMetricFamily("slipway_oldest_queued_seconds", help_text, value=waited)


def queue_families() -> Iterator[Metric]:
    """Yield how many launches wait by backend, and how many messages by queue; no messages while Redis is away."""
    launches = GaugeMetricFamily("slipway_queued_launches", "Launches that wait for their turn.", labels=["backend"])
    queued = Workspace.objects.provisioning().filter(phase=Phase.QUEUED)
    by_backend = dict(queued.order_by().values_list("backend").annotate(number=Count("pk")))
    for kind in LAUNCHED_KINDS:
        launches.add_metric([kind], by_backend.get(kind, 0))
    yield launches
    messages = GaugeMetricFamily(
        "slipway_queue_messages", "Messages that wait for a worker, without those that one has taken.", labels=["queue"]
    )
    with suppress(redis.RedisError, OSError):
        for queue in QUEUES:
            messages.add_metric([queue], queue_length(queue))
    yield messages


def deadline_failure_families(*, now: datetime) -> Iterator[Metric]:
    """Yield how many of the last launches failed by a deadline, and how many of these wrongly, by runtime."""
    failures = GaugeMetricFamily(
        "slipway_deadline_flips",
        "Launches that were queued in the last 24 hours and failed by a deadline.",
        labels=["runtime"],
    )
    false = GaugeMetricFamily(
        "slipway_deadline_false_flips",
        "Launches that were queued in the last 24 hours and failed by a deadline although their agent registered "
        "within the grace period.",
        labels=["runtime"],
    )
    for each in false_timeouts_by_runtime(since=now - WINDOW):
        failures.add_metric([each.runtime], each.number)
        false.add_metric([each.runtime], each.false)
    yield failures
    yield false


def sweep_families(*, now: datetime) -> Iterator[Metric]:
    """Yield the record of the last sweep, and nothing before the first, because zeros would look healthy."""
    run = last_sweep_run()
    if run is None:
        return
    age = (now - run.ran_at).total_seconds()
    for name, help_text, value in (
        ("age_seconds", "Time since the last sweep, in seconds.", age),
        ("duration_seconds", "Duration of the last sweep, in seconds.", run.duration_seconds),
        ("lag_seconds", "Time since the earliest deadline that the last sweep found, in seconds.", run.lag_seconds),
        ("looked_at", "Overdue workspaces that the last sweep read.", run.looked_at),
        ("flips", "Workspaces that the last sweep failed.", run.flips),
        ("held", "Workspaces that are held because many launches are late together.", run.held),
        ("postponed", "Workspaces that wait in a queue that moves.", run.postponed),
        ("set_aside", "Workspaces that the database refused to fail.", run.set_aside),
    ):
        yield GaugeMetricFamily(f"slipway_sweep_{name}", help_text, value=value)
