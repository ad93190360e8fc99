from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from config.access import may_read_events
from config.api import api
from config.health import health, metrics, ready
from events import live

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("health", health),
    path("ready", ready),
    path("metrics", metrics),
    # Before the API: there, `stream` would be taken for a workspace's id.
    path("events/stream", live.stream_view(authorise=may_read_events)),
    # Before the admin, under whose prefix watchers report.
    path("", api.urls),
    path("admin/", admin.site.urls),
]
