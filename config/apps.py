from importlib import import_module

from django.apps import AppConfig

from config.celery import app as celery_app


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Register our system checks, and make our Celery application the one that tasks are sent with.

        In every thread, web requests included.
        """
        celery_app.set_default()
        # It reads models, which are there only now.
        import_module("config.checks")
