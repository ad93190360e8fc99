"""The request bodies of the registry's API, as the wire contract describes them.

They are plain Pydantic models, since Ninja's Schema accepts any value as an object and reads its attributes. Numbers
and booleans are strict: a text is not converted.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictFloat, StrictInt

from agent import rules
from workspaces.access.agent_urls import MAX_URL_CHARACTERS
from workspaces.lifecycle.transitions import FailureCode

# The largest values that the columns of Heartbeat can store.
_LARGEST_COUNT = 2**31 - 1
_LARGEST_AMOUNT = 2**63 - 1


def single_line(text: str) -> str:
    """Return the text without white space around it. Raises ValueError if it is empty or not one printable line."""
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of printable text")
    return text.strip()


def environment_name(name: str) -> str:
    """Return the name. Raises ValueError if it can't name an environment variable."""
    if not rules.is_environment_name(name):
        raise ValueError("must be the name of an environment variable")
    return name


SingleLine = Annotated[str, AfterValidator(single_line)]
Rate = Annotated[StrictFloat, Field(ge=0, le=1)]
Count = Annotated[StrictInt, Field(ge=0, le=_LARGEST_COUNT)]
Amount = Annotated[StrictInt, Field(ge=0, le=_LARGEST_AMOUNT)]
EnvironmentName = Annotated[str, Field(max_length=255), AfterValidator(environment_name)]
AgentFailureCode = Literal[FailureCode.MISSING_ENV, FailureCode.BAD_CONFIG, FailureCode.CRASHED]


class RuntimeState(StrEnum):
    """What an agent says about its runtime."""

    FINE = ""
    WEDGED = "wedged"


class RegisterIn(BaseModel):
    id: UUID
    url: Annotated[str, Field(max_length=MAX_URL_CHARACTERS)]
    agent_card: dict[str, Any]


class RuntimeMetadata(BaseModel):
    capabilities: Annotated[dict[Annotated[str, Field(max_length=100)], StrictBool], Field(max_length=100)] = {}
    idle_timeout_seconds: Annotated[StrictFloat, Field(ge=0, le=_LARGEST_COUNT)] | None = None


class HeartbeatIn(BaseModel):
    workspace_id: UUID
    error_rate: Rate | None = None
    sample_error: str | None = None
    active_tasks: Count | None = None
    uptime_seconds: Amount | None = None
    current_task: str | None = None
    monthly_spend: Annotated[StrictInt, Field(ge=0)] | None = None
    runtime_state: RuntimeState | None = None
    runtime_metadata: RuntimeMetadata | None = None


class ProgressIn(BaseModel):
    workspace_id: UUID
    step: SingleLine
    detail: str | None = None


class FailedIn(BaseModel):
    workspace_id: UUID
    code: AgentFailureCode
    error: str
    missing: Annotated[list[EnvironmentName], Field(max_length=200)] | None = None
    log_tail: str | None = None


class BootstrapFailedIn(BaseModel):
    error: str | None = None
    log_tail: str | None = None
    launch_id: UUID | None = None
