from django.contrib import admin
from django.urls import path

from config.access import may_read_events
from events import live

urlpatterns = [
    path("admin/", admin.site.urls),
    # Before the API: there, `stream` would be taken for a workspace's id.
    path("events/stream", live.stream_view(authorise=may_read_events)),
]
