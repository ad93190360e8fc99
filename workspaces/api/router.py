"""The router of all calls about workspaces, and who may make them."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ninja import Router
from ninja.constants import NOT_SET
from ninja.operation import Operation
from ninja.utils import contribute_operation_callback

from workspaces.access.authentication import Access
from workspaces.models import ApiScope

# One for all modules: Django looks at the first router that has a path, whatever the method.
router = Router(tags=["workspaces"])
View = TypeVar("View", bound=Callable[..., Any])


def access(action: str, scope: ApiScope, *, own_agent: bool = False) -> Access:
    """Return the rule for calls that an API key with the scope may make, or a user who may do that to workspaces."""
    return Access(scopes=(scope,), permission=f"workspaces.{action}_workspace", own_agent=own_agent)


def answering(answers: Mapping[int, type]) -> Callable[[View], View]:
    """Return a decorator that says with which statuses a view answers, and the type of each answer.

    A view without it answers with 200 and what its annotation says. Mypy checks the types and the API's description
    shows them (config/api/openapi.py); nothing is checked or converted when a view answers.
    """

    def declare(operation: Operation) -> None:
        operation.response_models = dict.fromkeys(answers, NOT_SET)

    def decorate(view: View) -> View:
        contribute_operation_callback(view, declare)
        view.answers = answers  # type: ignore[attr-defined]
        return view

    return decorate
