from django.contrib import admin
from django.urls import path, re_path, reverse_lazy
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from config.api.error_responses import reading
from config.api.ninja_api import answering_errors, api
from config.api.openapi_document import openapi_document
from config.security_headers import theme
from events.live.fallback import live_stream_fallback
from monitoring.health import health, metrics, ready
from registry.heartbeat import heartbeat

urlpatterns = [
    # First, since nothing is called as often.
    path("registry/heartbeat", csrf_exempt(answering_errors(heartbeat))),
    path("", reading(RedirectView.as_view(pattern_name="admin:index"))),
    # Addresses that people try, or that a link of another version of Django has.
    re_path(
        r"^(login|accounts/login|accounts/profile)/?$", reading(RedirectView.as_view(url=reverse_lazy("admin:index")))
    ),
    path("health", reading(health)),
    path("ready", reading(ready)),
    path("metrics", reading(metrics)),
    # config/asgi.py serves the live streams. These come before the API, which would take `stream` for an ID.
    path("events/stream", reading(live_stream_fallback), name="live_stream"),
    path("workspaces/<str:workspace_id>/events/stream", reading(live_stream_fallback)),
    path("ws", reading(live_stream_fallback)),
    # Ninja's own has one rule for it and for /api/docs, a page for sessions alone.
    path("api/openapi.json", reading(openapi_document)),
    # Before the admin, because watchers report below /admin/workspaces.
    path("", api.urls),
    path("admin/theme.css", reading(theme), name="admin_theme"),
    path("admin/", admin.site.urls),
]

handler400 = "config.api.error_responses.bad_request"
handler500 = "config.api.database_outages.server_error"
