"""The admin's pages of workspaces, launches, incidents and credentials; Django looks for them here."""

from workspaces.admin.workspaces import WorkspaceAdmin

__all__ = ["WorkspaceAdmin"]
