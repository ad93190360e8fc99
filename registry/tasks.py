"""The registry's Celery tasks."""

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings

from postgres.clock import database_now
from workspaces.models.incidents import Component
from workspaces.services.watching.crash_recovery import forget_ended_loops
from workspaces.services.watching.liveness import mark_silent_offline
from workspaces.services.watching.outages import record_liveness

logger = logging.getLogger(__name__)


@shared_task
def sweep_silent() -> None:
    """Mark workspaces offline whose heartbeats stopped."""
    # This may be the first task after an outage of ours, in which no heartbeat could arrive. Don't count it as silence.
    record_liveness(part=Component.SWEEP, now=database_now())
    lost = mark_silent_offline(now=database_now(), limit=timedelta(seconds=settings.HEARTBEAT_LIMIT_SECONDS))
    if lost:
        logger.info("Workspaces went offline: their heartbeats stopped", extra={"lost": len(lost)})
    forget_ended_loops(now=database_now())
