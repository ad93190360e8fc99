"""A thread in each web process that records every few seconds that the web is alive.

It uses the same database as the agents' reports, so if it can't write, they can't either.
"""

import logging
import threading
import time
from functools import cache

from django.db import Error, close_old_connections, connection

from postgres.clock import database_now
from workspaces.models.incidents import Component
from workspaces.services.watching.outages import record_liveness

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0


@cache
def start_web_liveness() -> threading.Thread:
    """Start the thread, once per process. It ends with the process."""
    thread = threading.Thread(target=run_web_liveness, name="alive", daemon=True)
    thread.start()
    return thread


def run_web_liveness() -> None:
    """Record that the web is alive every INTERVAL_SECONDS, without end."""
    while True:
        record_web_liveness()
        time.sleep(INTERVAL_SECONDS)


def record_web_liveness() -> None:
    """Record once that the web is alive. If the database is away, log that and close the connection."""
    try:
        close_old_connections()
        incident = record_liveness(part=Component.WEB, now=database_now())
    except Error as error:
        logger.warning("The web could not record that it is alive", extra={"error": type(error).__name__})
        connection.close()
        return
    if incident:
        logger.warning("The web was away", extra={"since": incident.opened_at.isoformat()})
