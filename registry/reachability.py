"""Which workspaces may know of each other: one and itself, siblings (two at the top too), ancestor and descendant."""

from workspaces.models import Workspace
from workspaces.services.core.trees import ancestors


def may_reach(caller: Workspace, target: Workspace) -> bool:
    """Tell whether the caller may be told where the target is."""
    if caller.pk == target.pk or caller.parent_id == target.parent_id:
        return True
    return target.pk in ancestors(caller.pk) or caller.pk in ancestors(target.pk)
