"""Settings, access to streams, Celery."""
