"""Answers that are given again to a caller that repeats a request."""

from django.db import models
from django.db.models.functions import Now


class StoredAnswer(models.Model):
    """The answer to a request with an Idempotency-Key."""

    # SHA-256 of the caller and its key.
    digest = models.CharField(primary_key=True, max_length=64)
    # SHA-256 of the request: the same key with another one is a mistake.
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    # Encrypted, since it may hold a token that is shown once.
    body = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="stored_answer_created_at")]

    def __str__(self) -> str:
        return self.digest[:12]
