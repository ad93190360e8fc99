"""Whether a workspace's configuration has changed since it last came online."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import Launch, LaunchOutcome, Workspace


class LastConfiguration(NamedTuple):
    """The configuration of a workspace's last launch that came online, and when that launch was queued."""

    digest: str
    at: datetime


def last_configurations(workspaces: Sequence[Workspace]) -> Mapping[UUID, LastConfiguration]:
    """Return the last configuration with which each workspace came online, by workspace id. One query."""
    online = Launch.objects.filter(outcome=LaunchOutcome.ONLINE, configuration__isnull=False)
    newest = online.filter(workspace__in=workspaces).order_by("workspace_id", "-queued_at").distinct("workspace_id")
    rows = newest.values_list("workspace_id", "configuration_id", "queued_at")
    return {workspace_id: LastConfiguration(digest, at) for workspace_id, digest, at in rows}


def changed_since(workspaces: Sequence[Workspace], codes: Mapping[UUID, str]) -> Mapping[UUID, datetime]:
    """Return when those workspaces last began a launch that came online, whose template has changed since.

    `codes` are their failure codes, empty for those that have not failed.
    """
    from_template = [row for row in workspaces if row.template and row.kept_configuration_id is None]
    last = last_configurations(from_template) if from_template else {}
    current = dict(
        Launch.objects.filter(pk__in=[row.launch_id for row in from_template if row.pk in last]).values_list(
            "workspace_id", "configuration_id"
        )
    )
    return {
        workspace_id: last[workspace_id].at
        for workspace_id, digest in current.items()
        # A configuration that is not valid is not stored.
        if (digest or codes[workspace_id] == FailureCode.BAD_CONFIG) and digest != last[workspace_id].digest
    }


def has_other_configuration(workspace: Workspace) -> bool:
    """Return whether the current launch is known to have another configuration than the last one that came online."""
    return workspace.pk in changed_since([workspace], {workspace.pk: workspace.failure_code})
