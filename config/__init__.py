"""The Django project: settings, URLs, ASGI, WSGI, Celery, logging, admin navigation."""
