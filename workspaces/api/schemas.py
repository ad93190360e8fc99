"""The request bodies of the operators' API. Numbers and booleans are never converted from text.

They are plain Pydantic models; registry/schemas.py says why.
"""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field, StrictBool, StrictInt, StringConstraints

from workspaces.lifecycle.transitions import RestartPolicy
from workspaces.models import MAX_BUDGET_CENTS, MAX_TIMEOUT_SECONDS
from workspaces.services.launching.create import CreateRequest

_LARGEST_COUNT = 2**31 - 1

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Tier = Annotated[StrictInt, Field(ge=1, le=10)]
Cents = Annotated[StrictInt, Field(ge=0, le=MAX_BUDGET_CENTS)]
Minutes = Annotated[StrictInt, Field(ge=0, le=_LARGEST_COUNT)]
Timeout = Annotated[StrictInt, Field(ge=1, le=MAX_TIMEOUT_SECONDS)]


class CreateIn(BaseModel):
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
    secrets: dict[str, str] | None = None
    env_file: str | None = None
    labels: dict[str, str] | None = None

    def request(self) -> CreateRequest:
        """Return the request as the service takes it."""
        return CreateRequest(**self.model_dump(exclude_none=True))
