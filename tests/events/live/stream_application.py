"""The live streams of production, with short limits for the tests, and a password header as another login."""

import os

from config import asgi
from events.live.asgi import LiveStreams
from events.live.stream_hub import Limits
from tests.waiting import PATIENCE_SECONDS
from workspaces.api.diagnosis.log_streams import LogLimits, LogStreams
from workspaces.provisioners import guarded_calls


def _knows_the_password(request, workspace_id):
    if request.headers.get("X-Word") != "sesame":
        asgi.require_reader(request, workspace_id)


def _seconds(name, default):
    return float(os.environ.get(name, default))


_LIMITS = Limits(
    keep_alive_seconds=_seconds("KEEP_ALIVE_SECONDS", Limits.keep_alive_seconds),
    recheck_seconds=_seconds("RECHECK_SECONDS", Limits.recheck_seconds),
    stuck_seconds=_seconds("STUCK_SECONDS", Limits.stuck_seconds),
    queue_bytes=int(os.environ.get("QUEUE_BYTES", Limits.queue_bytes)),
)
asgi.live_streams = LiveStreams(authorize=_knows_the_password, limits=_LIMITS)
_LOG_LIMITS = LogLimits(
    most_streams=4,
    most_of_agents=2,
    most_of_one_agent=1,
    poll_seconds=0.1,
    keep_alive_seconds=0.3,
    recheck_seconds=0.3,
)
asgi.log_streams = LogStreams(authorize=asgi.require_log_reader, limits=_LOG_LIMITS)
# A log is divided here on a busy machine, too.
guarded_calls.LOG_SIZE_SECONDS = PATIENCE_SECONDS
application = asgi.application
