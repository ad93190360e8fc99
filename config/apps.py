from django.apps import AppConfig

from config.celery import app as celery_app
from config.log_format import FieldsFormatter


class ConfigConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Make our Celery application the default in every thread, and mask secrets in the log."""
        from workspaces.access.log_masking import mask_line

        celery_app.set_default()
        FieldsFormatter.mask = staticmethod(mask_line)
