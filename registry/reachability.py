"""Which workspaces may discover each other: itself, ancestors, descendants, siblings (all without a parent, too)."""

from workspaces.models import Workspace
from workspaces.services.core.trees import ancestors


def may_reach(caller: Workspace, target: Workspace) -> bool:
    """Return whether the caller may learn the target's URL."""
    if caller.pk == target.pk or caller.parent_id == target.parent_id:
        return True
    return target.pk in ancestors(caller.pk) or caller.pk in ancestors(target.pk)
