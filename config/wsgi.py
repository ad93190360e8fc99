"""The WSGI application: everything except live streams, which need config.asgi."""

import os

from django.core.wsgi import get_wsgi_application

from postgres.time_limits import ProcessRole, set_process_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

set_process_role(ProcessRole.WEB)
# Needs to come before imports that read models.
django = get_wsgi_application()

from config.entry.wsgi import WsgiEntry  # noqa: E402
from monitoring.web_liveness import start_web_liveness  # noqa: E402

application = WsgiEntry(django)
start_web_liveness()
