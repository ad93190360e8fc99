"""Secrets of workspaces, tokens of agents, API keys of scripts."""

from datetime import datetime, timedelta
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import CheckConstraint, ExpressionWrapper, Q, UniqueConstraint
from django.db.models.functions import Now

from workspaces.models.launches import Launch
from workspaces.models.workspaces import MAX_SET_CHARACTERS, Workspace

# A key that is used all the time is written this seldom.
USE_NOTED_EVERY = timedelta(minutes=1)


class ApiScope(models.TextChoices):
    """What an API key allows; `admin` includes `operate`, which includes `read`."""

    READ = "read", "Read"
    OPERATE = "operate", "Operate"
    ADMIN = "admin", "Admin"
    # For external watchers: only to report bootstrap-failed.
    WATCH = "watch", "Watch"


class SecretSet(models.Model):
    """Secrets under a name, for each workspace that has the name in its `secret_sets`."""

    name = models.CharField(
        primary_key=True,
        max_length=MAX_SET_CHARACTERS,
        validators=[
            RegexValidator(
                r"\A[a-z0-9][a-z0-9._-]*\Z",
                "The name of a set has lower-case letters, digits, dots, underscores and hyphens, and begins with a "
                "letter or digit.",
            )
        ],
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Secret(models.Model):
    """An environment variable of one workspace, of a set, or of all workspaces; encrypted at rest.

    Only the last version is kept; `version` counts how often it was set, `updated_at` and `set_by` are about the last.
    """

    workspace = models.ForeignKey(Workspace, null=True, blank=True, on_delete=models.CASCADE, related_name="secrets")
    secret_set = models.ForeignKey(SecretSet, null=True, blank=True, on_delete=models.CASCADE, related_name="secrets")
    name = models.CharField(max_length=255)
    ciphertext = models.TextField(editable=False)
    version = models.PositiveIntegerField(default=1, db_default=1, editable=False)
    # The name of an operator; empty if it isn't known.
    set_by = models.CharField(max_length=200, blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    # Since when it has had this value, also if it was set again to the same one; null if that isn't known.
    value_since = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            # Three constraints because NULLS NOT DISTINCT needs Postgres 15.
            UniqueConstraint(fields=["workspace", "name"], name="secret_once_per_workspace"),
            UniqueConstraint(fields=["secret_set", "name"], name="secret_once_per_set"),
            UniqueConstraint(
                fields=["name"],
                condition=Q(workspace__isnull=True, secret_set__isnull=True),
                name="secret_once_globally",
            ),
            CheckConstraint(
                condition=Q(workspace__isnull=True) | Q(secret_set__isnull=True), name="secret_has_one_owner_at_most"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def origin(self) -> str:
        """Return where it belongs, in words."""
        if self.secret_set_id:
            return f"set {self.secret_set_id}"
        return f"workspace {self.workspace.name}" if self.workspace else "global"


class RetiredSecret(models.Model):
    """A replaced or deleted secret, kept for masking until no launch can have its value any more.

    Once only the log of a stopped launch can hold it (`only_in_logs`), it is masked in logs alone.
    """

    workspace = models.ForeignKey(Workspace, null=True, on_delete=models.CASCADE, related_name="retired_secrets")
    # Empty if it was retired before names were kept.
    name = models.CharField(max_length=255, default="", db_default="")
    ciphertext = models.TextField()
    # From when until when a launch could get it; null if the beginning isn't known. Until its replacement is committed,
    # or if that time could not be noted, the end is an hour late.
    value_since = models.DateTimeField(null=True)
    retired_at = models.DateTimeField(db_default=Now())
    only_in_logs = models.BooleanField(default=False, db_default=False)

    def __str__(self) -> str:
        return f"retired at {self.retired_at}"


class AgentToken(models.Model):
    """A credential of one launch, valid as long as the launch is current. Only its SHA-256 is stored."""

    workspace = models.ForeignKey(Workspace, on_delete=models.PROTECT, related_name="tokens")
    launch = models.ForeignKey(Launch, on_delete=models.PROTECT, related_name="tokens")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(db_default=Now())
    revoked_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"token {self.pk} of launch {self.launch_id}"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Queries of API keys."""

    def with_clock(self) -> Self:
        """Add the database's time, and what it decides: `is_expired`, `is_use_due`: its last use was noted long ago."""
        is_due = Q(last_used_at__isnull=True) | Q(last_used_at__lte=Now() - USE_NOTED_EVERY)
        return self.annotate(
            read_at=Now(),
            is_expired=ExpressionWrapper(Q(expires_at__isnull=False, expires_at__lte=Now()), models.BooleanField()),
            is_use_due=ExpressionWrapper(is_due, models.BooleanField()),
        )


class ApiKey(models.Model):
    """A script's credential. Only its SHA-256 is stored; `prefix` lets an operator recognise it.

    Without networks it may be used from anywhere. `last_used_at` is up to USE_NOTED_EVERY behind.
    """

    read_at: datetime
    is_expired: bool
    is_use_due: bool

    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=10, choices=ApiScope.choices))
    networks = ArrayField(models.CharField(max_length=49), default=list, db_default=[], blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]
        verbose_name = "API key"
        constraints = [
            CheckConstraint(
                condition=Q(scopes__contained_by=ApiScope.values) & Q(scopes__len__gt=0), name="api_key_scopes_known"
            )
        ]

    def __str__(self) -> str:
        return self.name
