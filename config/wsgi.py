"""The WSGI application: everything except live streams, which need config.asgi."""

import gc
import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from postgres.time_limits import ProcessRole, set_process_role

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

set_process_role(ProcessRole.WEB)
# Needs to come before imports that read models.
django = get_wsgi_application()

from config.entry.wsgi import WsgiEntry  # noqa: E402
from monitoring.web_liveness import start_web_liveness  # noqa: E402

application = WsgiEntry(django)
start_web_liveness()
# As config/asgi.py does: a collection that looks at all of Django takes longer than most answers.
get_resolver().url_patterns  # noqa: B018 (a property that loads)
gc.collect()
gc.freeze()
