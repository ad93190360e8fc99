"""What workspaces used, by day."""

from django.db import models
from django.db.models import UniqueConstraint

from workspaces.models.workspaces import Workspace


class Usage(models.Model):
    """What a workspace used on one day of BUDGET_TIME_ZONE. workspaces_count_usage writes it."""

    workspace = models.ForeignKey(Workspace, on_delete=models.CASCADE, related_name="usage", db_index=False)
    day = models.DateField()
    input_tokens = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField()
    total_calls = models.PositiveBigIntegerField()

    class Meta:
        constraints = [UniqueConstraint(fields=["workspace", "day"], name="usage_once_a_day")]

    def __str__(self) -> str:
        return f"{self.workspace_id} on {self.day}"


class UsageCounter(models.Model):
    """The last usage report that was counted: a repeated one is not counted again."""

    workspace = models.OneToOneField(Workspace, primary_key=True, on_delete=models.CASCADE, related_name="+")
    launch_id = models.UUIDField()
    counter = models.PositiveBigIntegerField()

    def __str__(self) -> str:
        return f"{self.workspace_id} at {self.counter}"
