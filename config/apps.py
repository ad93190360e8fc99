from django.apps import AppConfig

from config.celery import app as celery_app


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Make our Celery application the one that every thread, web requests included, sends tasks with."""
        celery_app.set_default()
