"""The router of all calls about workspaces, and who may make them."""

from ninja import Router

from workspaces.access.authentication import Access
from workspaces.models import ApiScope

# One for all modules: Django looks at the first router that has a path, whatever the method.
router = Router(tags=["workspaces"])


def access(action: str, scope: ApiScope, *, own_agent: bool = False) -> Access:
    """Return the rule for calls that an API key with the scope may make, or a user who may do that to workspaces."""
    return Access(scopes=(scope,), permission=f"workspaces.{action}_workspace", own_agent=own_agent)
