"""The web's sign of life: a thread in each web process that stores, every few seconds, that it is alive.

It writes through the same database as the agents' reports: where it can't, they couldn't either.
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
    """Start the thread, once a process. It ends with the process."""
    thread = threading.Thread(target=_keep_noting, name="alive", daemon=True)
    thread.start()
    return thread


def _keep_noting() -> None:
    while True:
        record_web_liveness()
        time.sleep(INTERVAL_SECONDS)


def record_web_liveness() -> None:
    """Store one sign of life; a database that is away gets the next one."""
    try:
        close_old_connections()
        incident = record_liveness(part=Component.WEB, now=database_now())
    except Error as error:
        logger.warning("The web could not store that it is alive", extra={"error": type(error).__name__})
        connection.close()
        return
    if incident:
        logger.warning("The web was away", extra={"since": incident.opened_at.isoformat()})
