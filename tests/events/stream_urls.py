"""The stream as production mounts it, but for limits that a test can wait for and a word beside the login."""

import os

from django.urls import path

from config.access import may_read_events
from events import live


def _knows_the_word(request):
    return request.headers.get("X-Word") == "sesame" or may_read_events(request)


_LIMITS = live.Limits(
    keep_alive_seconds=float(os.environ.get("KEEP_ALIVE_SECONDS", "10")),
    longest_seconds=float(os.environ.get("LONGEST_SECONDS", "1800")),
    queue_size=int(os.environ.get("QUEUE_SIZE", "5000")),
)
urlpatterns = [path("events/stream", live.stream_view(authorise=_knows_the_word, limits=_LIMITS))]
