"""The request bodies of the operators' API, and answers that several calls have.

Numbers and booleans are never converted from text.
Bodies are plain Pydantic models; registry/schemas.py says why.
"""

from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from typing_extensions import TypedDict

from workspaces.access.errors import MOST_PROBLEMS
from workspaces.lifecycle.transitions import BudgetAction, RestartPolicy
from workspaces.models import MAX_BUDGET_CENTS, MAX_TIMEOUT_SECONDS
from workspaces.services.launching.create import CreateRequest

_LARGEST_COUNT = 2**31 - 1

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Coordinate = Annotated[StrictFloat, Field(ge=-1e9, le=1e9)]
Tier = Annotated[StrictInt, Field(ge=1, le=10)]
Cents = Annotated[StrictInt, Field(ge=0, le=MAX_BUDGET_CENTS)]
Minutes = Annotated[StrictInt, Field(ge=0, le=_LARGEST_COUNT)]
Timeout = Annotated[StrictInt, Field(ge=1, le=MAX_TIMEOUT_SECONDS)]


class OperatorIn(BaseModel):
    """A body that an operator sends. A field that it doesn't have is refused, with the nearest name."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def name_the_nearest(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Return the body. Raises ValidationError, which says of each unknown field which one was probably meant."""
        try:
            return handler(values)
        except ValidationError as error:
            problems = enumerate(error.errors(include_url=False))
            # A search for each of a body full of unknown fields would take minutes.
            explained = [cls.explained(each, is_shown=number < MOST_PROBLEMS) for number, each in problems]
            raise ValidationError.from_exception_data(error.title, explained) from None

    @classmethod
    def explained(cls, problem: ErrorDetails, *, is_shown: bool) -> InitErrorDetails:
        """Return a problem as it was, or the one of an unknown field in our words, with the nearest if it is shown."""
        name = str(problem["loc"][-1]) if problem["loc"] else ""
        message = problem["msg"]
        if problem["type"] == "extra_forbidden":
            near = get_close_matches(name, cls.model_fields, n=1) if is_shown else []
            message = f"There is no such field. Did you mean {near[0]}?" if near else "There is no such field."
        kind = PydanticCustomError("refused", "{message}", {"message": message})
        return {"type": kind, "loc": problem["loc"], "input": problem["input"]}


class ChangesIn(OperatorIn):
    """The fields to change. Those that are left out stay."""

    name: Name = ""
    role: str = ""
    tier: Tier = 1
    parent_id: UUID | None = None
    x: Coordinate = 0
    y: Coordinate = 0
    hibernation_idle_minutes: Minutes | None = None
    provision_timeout_seconds: Timeout | None = None
    restart_policy: RestartPolicy = RestartPolicy.ON_FAILURE
    labels: dict[str, str] = {}
    secret_sets: list[str] = []


class BudgetIn(OperatorIn):
    """The budget in cents a month, null for none, and what happens when it is spent."""

    budget_limit: Cents | None
    budget_action: BudgetAction = BudgetAction.NOTIFY


class CreateIn(OperatorIn):
    """Exactly one of template, config and external says what runs. null means the same as leaving a field out."""

    name: Name
    role: str | None = None
    template: str | None = None
    config: str | None = None
    runtime: str | None = None
    tier: Tier | None = None
    model: str | None = None
    external: StrictBool | None = None
    url: str | None = None
    parent_id: UUID | None = None
    budget_limit: Cents | None = None
    hibernation_idle_minutes: Minutes | None = None
    provision_timeout_seconds: Timeout | None = None
    restart_policy: RestartPolicy | None = None
    budget_action: BudgetAction | None = None
    secrets: dict[str, str] | None = None
    env_file: str | None = None
    secret_sets: list[str] | None = None
    labels: dict[str, str] | None = None

    def request(self, *, by: str) -> CreateRequest:
        """Return the request as the service takes it, from the operator of this name."""
        return CreateRequest(**self.model_dump(exclude_none=True), by=by)


class DoneOut(TypedDict):
    """What was done."""

    status: Literal["deleted", "revoked", "updated"]  # not-a-workspace-status: of what was done


class WorkspaceNameOut(TypedDict):
    """A workspace, in short."""

    id: UUID
    name: str
