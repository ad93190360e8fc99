"""What launches ran with, kept so that a workspace can be launched with it again."""

from django.db import models


class Configuration(models.Model):
    """The text of a config.yaml and the files beside it. Launches with equal ones share a row."""

    # SHA-256 of the text and the files, in hexadecimal; see configuration/effective.py.
    digest = models.CharField(primary_key=True, max_length=64)
    text = models.TextField()
    # Base64 by path.
    files = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.digest[:12]
