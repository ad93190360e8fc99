"""Which part of a launch's log is its boot output, and which its agent's: it divides where the launch came online."""

from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from uuid import UUID

from agent.texts import printable
from workspaces.access.errors import RequestRefused
from workspaces.models import Launch, LaunchOutcome, Workspace
from workspaces.provisioners.base import LogPart

NO_BOUNDARY = (
    "It is not known where the boot output of this launch ended, so its log can't be divided. Leave out `stream` to "
    "read all of it."
)
SHORTENED = (
    "The log is shorter than it was when the boot output ended, so it can't be divided. Leave out `stream` to read all "
    "of it."
)
TAIL_ONLY = (
    "The log is gone, and the end of it that a failure kept can't be divided into boot and agent. Leave out `stream` "
    "to read it."
)
DROPPED = (
    "The boot output is not kept any more, since the agent has written too much after it. Read the stream `agent`."
)


class LogStream(StrEnum):
    """The boot output of a launch, or what came after it was online."""

    BOOT = "boot"
    AGENT = "agent"


@dataclass(frozen=True, kw_only=True)
class LogSpan:
    """The part of a log that is read, in bytes from its beginning. Without an `end` it grows with the log.

    A line that begins in it belongs to it.
    """

    begin: int = 0
    end: int | None = None

    def is_over(self, offset: int) -> bool:
        """Return whether no line begins at the offset or behind it."""
        return self.end is not None and offset >= self.end

    def cut(self, data: bytes, *, begin: int) -> bytes:
        """Return the lines that begin in the span, of data that begins in it with a line."""
        if self.end is None:
            return data
        line_end = data.find(b"\n", self.end - 1 - begin) + 1
        return data[: line_end or None]

    def check(self, part: LogPart, *, offset: int) -> None:
        """Raise RequestRefused if the log, as it was read from the offset on, is shorter than where the span ends."""
        is_there = part.data or part.start < offset
        if is_there and part.size < (self.end or self.begin):
            raise undivided(SHORTENED)


WHOLE = LogSpan()
NOTHING_YET = LogSpan(end=0)


def span_of(launch_id: UUID, stream: LogStream | None) -> LogSpan:
    """Return the part of a launch's log that the stream is; all of it for None.

    Until a launch is online, everything is boot output. Raises RequestRefused if it was online and the place where it
    came online is not known.
    """
    if stream is None:
        return WHOLE
    outcome, boundary = outcome_of(launch_id)
    if outcome != LaunchOutcome.ONLINE:
        return WHOLE if stream is LogStream.BOOT else NOTHING_YET
    if boundary is None:
        raise undivided(NO_BOUNDARY)
    return LogSpan(end=boundary) if stream is LogStream.BOOT else LogSpan(begin=boundary)


def kept_tail(workspace: Workspace, stream: LogStream | None) -> str:
    """Return what the last failure kept of the log that is gone, or "". Raises RequestRefused as `span_of`."""
    tail = printable(workspace.failure_log_tail)
    if not tail or stream is None:
        return tail
    if outcome_of(workspace.launch_id)[0] == LaunchOutcome.ONLINE:
        raise undivided(TAIL_ONLY)
    return tail if stream is LogStream.BOOT else ""


def outcome_of(launch_id: UUID) -> tuple[str, int | None]:
    """Return the outcome of a launch, and how long its log was when it came online, if that is known."""
    row = Launch.objects.filter(pk=launch_id).values_list("outcome", "boot_log_bytes").first()
    return row or (LaunchOutcome.WITHDRAWN, None)


def dropped() -> RequestRefused:
    """Return the refusal of boot output that is not kept any more."""
    return RequestRefused(HTTPStatus.CONFLICT, DROPPED, code="log_dropped")


def undivided(why: str) -> RequestRefused:
    """Return the refusal of one of the two parts."""
    return RequestRefused(HTTPStatus.CONFLICT, why, code="log_undivided")
