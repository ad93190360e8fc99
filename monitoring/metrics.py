"""The fleet in numbers, for Prometheus: read from the database at each scrape. Holds no workspace's name."""

from collections.abc import Iterator

from django.db.models import Count, Min
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitoring.fanout_metrics import fanout_families
from postgres.clock import database_now
from workspaces.deadlines.false_timeouts import false_timeouts_by_runtime
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Launch, Workspace
from workspaces.services.watching.sweep import last_sweep_run


class FleetCollector(Collector):
    """A fixed number of queries, whatever the fleet's size."""

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield _workspaces()
        yield _launches()
        yield from _flips()
        yield from _sweep()
        yield GaugeMetricFamily(
            "slipway_oldest_queued_seconds", "How long the oldest queued launch has waited.", value=_oldest_queued()
        )
        yield from fanout_families()


def render_metrics() -> bytes:
    """Return the metrics as Prometheus' text."""
    registry = CollectorRegistry()
    registry.register(FleetCollector())
    return generate_latest(registry)


def _workspaces() -> Metric:
    family = GaugeMetricFamily("slipway_workspaces", "Workspaces.", labels=["status", "runtime"])
    counted = Workspace.objects.order_by().values_list("status", "runtime").annotate(number=Count("pk"))
    for status, runtime, number in counted:
        family.add_metric([str(status), runtime], number)
    return family


def _launches() -> Metric:
    family = GaugeMetricFamily("slipway_launches", "Launches, past ones too.", labels=["outcome", "failure_code"])
    counted = Launch.objects.order_by().values_list("outcome", "failure_code").annotate(number=Count("pk"))
    for outcome, failure_code, number in counted:
        family.add_metric([outcome, failure_code], number)
    return family


def _flips() -> Iterator[Metric]:
    flips = GaugeMetricFamily("slipway_deadline_flips", "Launches that a deadline failed.", labels=["runtime"])
    false = GaugeMetricFamily(
        "slipway_deadline_false_flips", "Of these, launches that arrived within the grace.", labels=["runtime"]
    )
    for each in false_timeouts_by_runtime():
        flips.add_metric([each.runtime], each.number)
        false.add_metric([each.runtime], each.false)
    yield flips
    yield false


def _sweep() -> Iterator[Metric]:
    """The sweep's own record; nothing before the first one, rather than a zero that looks well."""
    run = last_sweep_run()
    if run is None:
        return
    age = (database_now() - run.ran_at).total_seconds()
    for name, explanation, value in (
        ("age_seconds", "How long ago the last sweep ran.", age),
        ("duration_seconds", "How long it took.", run.duration_seconds),
        ("lag_seconds", "How long the earliest deadline that it found had passed.", run.lag_seconds),
        ("looked_at", "Overdue workspaces that it read.", run.looked_at),
        ("flips", "Workspaces that it failed.", run.flips),
        ("held", "Workspaces that the brake kept it from failing.", run.held),
        ("postponed", "Workspaces that await their turn in a queue that moves.", run.postponed),
        ("set_aside", "Workspaces that the database refused to fail.", run.set_aside),
    ):
        yield GaugeMetricFamily(f"slipway_sweep_{name}", explanation, value=value)


def _oldest_queued() -> float:
    queued = Workspace.objects.provisioning().filter(phase=Phase.QUEUED)
    since = queued.aggregate(since=Min("phase_entered_at"))["since"]
    return (database_now() - since).total_seconds() if since else 0.0
