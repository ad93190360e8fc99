"""The request bodies and answers of the registry's API, as the wire contract describes them.

Only identity (IDs) and what decides (`error_rate`, `runtime_state`, `code`) is judged. Texts and numbers that describe
are mended: a report counts whatever they hold. A field that can't be used is left out, and the answer says so.
Bodies are plain Pydantic models, since Ninja's Schema accepts any value as an object and reads its attributes.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NotRequired, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    StrictBool,
    StrictFloat,
    ValidationError,
    model_validator,
)
from typing_extensions import TypedDict

from agent import rules
from agent.texts import mend_line, mend_text, mend_values
from events.masking.masker import WINDOW_CHARACTERS
from postgres.enum_text import one_of
from workspaces.access.errors import field_message
from workspaces.lifecycle.transitions import RuntimeState, WorkspaceStatus
from workspaces.models import MAX_BUDGET_CENTS

# The largest values that the columns of Heartbeat can store.
_LARGEST_COUNT = 2**31 - 1
_LARGEST_AMOUNT = 2**63 - 1
# Sums of these fit into a column for any number of years.
_LARGEST_DELTA = 10**12
MAX_CARD_BYTES = 64 * 1024
_MAX_CAPABILITY_CHARACTERS = 100
# A field with more wrong parts is left out whole.
_MOST_LEFT_OUT_PARTS = 20


def clamped(value: Any, *, most: int) -> Any:
    """Return a number within 0 and `most`. Raises ValueError for anything else, NaN and true included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError("must be a number")
    return min(max(value, 0), most)


def whole(value: Any, *, most: int) -> int:
    """Return a number rounded and clamped. Raises ValueError."""
    return round(clamped(value, most=most))


def counted(value: Any) -> int:
    """Return a counter. Raises ValueError for one that can't be stored: clamped, it would be higher than later ones."""
    if not 0 <= clamped(value, most=_LARGEST_AMOUNT) == value:
        raise ValueError(f"must be a number from 0 to {_LARGEST_AMOUNT}")
    return round(value)


def as_text(value: Any) -> Any:
    """Return what is not a text as its JSON: a failure's `{"message": …}` still tells something."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(mend_values(value), ensure_ascii=False)


def mend_card(card: dict[str, Any]) -> Any:
    """Return the card with mended texts. Raises ValueError for one that is larger than 64 KiB."""
    mended = mend_values(card)
    if isinstance(mended, dict) and isinstance(mended.get("name"), str):
        mended["name"] = mend_line(mended["name"])
    if len(json.dumps(mended, ensure_ascii=False).encode()) > MAX_CARD_BYTES:
        raise ValueError(f"is larger than {MAX_CARD_BYTES // 1024} KiB, so the earlier card stays")
    return mended


def environment_name(name: str) -> str:
    """Return the name. Raises ValueError if it can't name an environment variable."""
    if not rules.is_environment_name(name):
        raise ValueError("must be the name of an environment variable")
    return name


Text = Annotated[str, AfterValidator(lambda text: mend_text(text[:WINDOW_CHARACTERS]))]
AnyText = Annotated[str, BeforeValidator(as_text)]
Rate = Annotated[StrictFloat, Field(ge=0, le=1)]
Count = Annotated[int, BeforeValidator(partial(whole, most=_LARGEST_COUNT))]
Amount = Annotated[int, BeforeValidator(partial(whole, most=_LARGEST_AMOUNT))]
Counter = Annotated[int, BeforeValidator(counted)]
Delta = Annotated[int, BeforeValidator(partial(whole, most=_LARGEST_DELTA))]
Cents = Annotated[int, BeforeValidator(partial(whole, most=MAX_BUDGET_CENTS))]
Seconds = Annotated[float, BeforeValidator(partial(clamped, most=_LARGEST_COUNT))]
Card = Annotated[dict[str, Any], AfterValidator(mend_card)]
Capability = Annotated[str, AfterValidator(lambda name: mend_line(name[:_MAX_CAPABILITY_CHARACTERS]))]
EnvironmentName = Annotated[str, Field(max_length=255), AfterValidator(environment_name)]
# Members of FailureCode. As members, Pydantic's message would name them as Python does.
AgentFailureCode = Literal["missing_env", "bad_config", "crashed"]


class Report(BaseModel):
    """What an agent or a watcher reports. A wrong field that is not `judged` is left out instead of refused."""

    judged: ClassVar[frozenset[str]] = frozenset({"workspace_id"})
    _ignored: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def ignored(self) -> dict[str, str]:
        """Return why, by the path of each field that was left out."""
        return self._ignored

    @model_validator(mode="wrap")
    @classmethod
    def leave_out_wrong_fields(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Return the report without the fields that are wrong. Raises ValidationError for one that is judged."""
        try:
            return handler(values)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            is_judged = any(
                not each["loc"] or each["loc"][0] in cls.judged or each["type"] == "missing" for each in problems
            )
            if is_judged or not isinstance(values, dict):
                raise
        wrong = dict.fromkeys(str(each["loc"][0]) for each in problems)
        try:
            left = values
            # From the back, so that the index of an item of a list stays right.
            for each in reversed(problems[:_MOST_LEFT_OUT_PARTS]):
                left = without(left, each["loc"])
            report = handler({**wrong, **left})
            names = [mend_line(".".join(map(str, each["loc"]))[:200]) for each in problems]
        except (LookupError, ValidationError):
            # Pydantic's paths have U+FFFD for half of a surrogate pair, so a key may not be found.
            report = handler({**values, **wrong})
            names = [str(each["loc"][0]) for each in problems]
        report._ignored = {name: field_message(each["msg"]) for name, each in zip(names, problems, strict=True)}
        return report


def without(values: Any, path: Sequence[str | int]) -> Any:
    """Return a copy of the dict or list without what lies at the path. Raises LookupError if nothing does."""
    first, *rest = path
    left = values.copy()
    if rest and isinstance(values[first], dict | list):
        left[first] = without(values[first], rest)
    else:
        del left[first]
    return left


class RegisterIn(Report):
    judged = frozenset({"id"})
    id: UUID
    url: str | None
    agent_card: Card | None


class CardIn(Report):
    judged = frozenset({"workspace_id", "agent_card"})
    workspace_id: UUID
    agent_card: Card


class AccessIn(BaseModel):
    """Whether the caller may reach the target."""

    caller_id: UUID
    target_id: UUID


class RuntimeMetadata(BaseModel):
    capabilities: Annotated[dict[Capability, StrictBool], Field(max_length=100)] | None = None
    idle_timeout_seconds: Seconds | None = None


class UsageIn(BaseModel):
    """What the agent used since its last heartbeat. With a `counter` that it raises, a repeated one counts once."""

    input_tokens: Delta = 0
    output_tokens: Delta = 0
    total_calls: Delta = 0
    counter: Counter | None = None


class HeartbeatIn(Report):
    workspace_id: UUID
    error_rate: Rate | None = None
    sample_error: Text | None = None
    active_tasks: Count | None = None
    uptime_seconds: Amount | None = None
    current_task: Text | None = None
    monthly_spend: Cents | None = None
    runtime_state: RuntimeState | None = None
    runtime_metadata: RuntimeMetadata | None = None
    usage: UsageIn | None = None


class ProgressIn(Report):
    workspace_id: UUID
    step: AnyText | None = None
    detail: Text | None = None


class FailedIn(Report):
    workspace_id: UUID
    code: AgentFailureCode | None = None
    error: AnyText | None = None
    missing: Annotated[list[EnvironmentName], Field(max_length=200)] | None = None
    log_tail: AnyText | None = None


class BootstrapFailedIn(Report):
    judged = frozenset({"launch_id"})
    error: AnyText | None = None
    log_tail: AnyText | None = None
    launch_id: UUID | None = None


class IgnoredOut(TypedDict):
    """Why each field of a report was left out, by its path; absent if none was."""

    ignored: NotRequired[dict[str, str]]


class HeardOut(IgnoredOut):
    """A report was taken."""

    status: Literal["ok"]


class RegisteredOut(IgnoredOut):
    """The agent is registered."""

    status: Literal["registered"]


class CardUpdatedOut(IgnoredOut):
    """The agent's card was replaced."""

    status: Literal["updated"]


class ProgressOut(HeardOut):
    """The boot step was recorded. `deadline_at` is the current deadline."""

    deadline_at: datetime | None


class NoChangeOut(TypedDict):
    """`no_change` is there if the report came too late to fail anything."""

    no_change: NotRequired[Literal[True]]


class FailureHeardOut(HeardOut, NoChangeOut):
    """The agent's failure was taken."""


class BootstrapFailureHeardOut(IgnoredOut, NoChangeOut):
    """The watcher's report was taken."""

    ok: Literal[True]


class FoundOut(TypedDict):
    """A workspace that can be reached, and the URL of its agent."""

    id: UUID
    url: str
    name: str


class UnreachableOut(TypedDict):
    """A workspace that can't be reached now: a sentence, and its status."""

    error: str
    code: Literal["unreachable"]
    status: Annotated[str, one_of(WorkspaceStatus)]


class AllowedOut(TypedDict):
    """Whether the caller may reach the target."""

    allowed: bool


def ignored_json(report: Report) -> IgnoredOut:
    """Return what the answer to a report says of the fields that were left out."""
    return {"ignored": report.ignored} if report.ignored else {}
