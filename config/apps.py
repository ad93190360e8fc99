from django.apps import AppConfig

from config.celery import app as celery_app


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Register the checks, and make our Celery application the one that tasks are sent with, in every thread."""
        # They look at models, which are there only now.
        from config import checks  # noqa: F401

        celery_app.set_default()
