"""The WSGI application: all but the live streams, which need config.asgi."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

# After the applications are there, whose models it writes.
from monitoring.web_liveness import start_web_liveness  # noqa: E402

start_web_liveness()
