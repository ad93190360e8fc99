"""The ASGI application: everything, including live streams, which WSGI can't serve."""

import gc
import os
from typing import Any

from django.core.asgi import get_asgi_application
from django.urls import get_resolver

from postgres.time_limits import ProcessRole, set_process_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

set_process_role(ProcessRole.WEB)
# Needs to come before imports that read settings and models.
django = get_asgi_application()

from config.entry.asgi import AsgiEntry  # noqa: E402
from config.stream_access import require_log_reader, require_reader  # noqa: E402
from events.live.asgi import LiveStreams  # noqa: E402
from monitoring.web_liveness import start_web_liveness  # noqa: E402
from workspaces.api.diagnosis.log_streams import LogStreams  # noqa: E402

live_streams = LiveStreams(authorize=require_reader)
log_streams = LogStreams(authorize=require_log_reader)
start_web_liveness()
# Load the views now instead of at the first request, then exclude everything so far from garbage collection: a
# collection of it would take longer than an event may take to reach a thousand clients.
get_resolver().url_patterns  # noqa: B018 (a property that loads)
gc.collect()
gc.freeze()


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Serve live streams beside Django, and everything else with Django."""
    streams = (each for each in (live_streams, log_streams) if each.serves(scope))
    await next(streams, django)(scope, receive, send)


application = AsgiEntry(serve)
