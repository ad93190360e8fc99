"""Celery's way into the registry's own duties."""

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings

from workspaces.clock import database_now
from workspaces.services.liveness import lose_silent

logger = logging.getLogger(__name__)


@shared_task
def sweep_silent() -> None:
    """Take workspaces offline whose heartbeats stopped."""
    lost = lose_silent(now=database_now(), limit=timedelta(seconds=settings.HEARTBEAT_LIMIT_SECONDS))
    if lost:
        logger.info("Workspaces were lost by their silence", extra={"lost": len(lost)})
