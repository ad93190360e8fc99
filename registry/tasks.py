"""Celery's way into the registry's own duties."""

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings

from postgres.clock import database_now
from workspaces.models.incidents import Component
from workspaces.services.watching.liveness import mark_silent_offline
from workspaces.services.watching.outages import record_liveness

logger = logging.getLogger(__name__)


@shared_task
def sweep_silent() -> None:
    """Take workspaces offline whose heartbeats stopped."""
    # This one may run first after an outage: who could not be heard is not lost.
    record_liveness(part=Component.SWEEP, now=database_now())
    lost = mark_silent_offline(now=database_now(), limit=timedelta(seconds=settings.HEARTBEAT_LIMIT_SECONDS))
    if lost:
        logger.info("Workspaces were lost by their silence", extra={"lost": len(lost)})
