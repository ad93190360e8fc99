from django.apps import AppConfig

from config.celery import app as celery_app


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Make our Celery application the one that tasks are sent with: in every thread, web requests included."""
        celery_app.set_default()
