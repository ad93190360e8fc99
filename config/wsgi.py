"""The WSGI application: everything except live streams, which need config.asgi."""

import os

from django.core.wsgi import get_wsgi_application

from config.entry.wsgi import WsgiEntry
from postgres.time_limits import ProcessRole, set_process_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

set_process_role(ProcessRole.WEB)
application = WsgiEntry(get_wsgi_application())

# Needs models, so only after Django is set up.
from monitoring.web_liveness import start_web_liveness  # noqa: E402

start_web_liveness()
