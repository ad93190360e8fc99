"""The log of a workspace's launch as plain text, masked: all of it, its boot output, or what its agent wrote then."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Query

from events.masking.masker import Masker
from workspaces.access.errors import RequestRefused
from workspaces.access.masking import masker_of_log
from workspaces.api.diagnosis.log_spans import WHOLE, LogSpan, LogStream, dropped, kept_tail, span_of
from workspaces.api.edits import find
from workspaces.api.router import access, router
from workspaces.lifecycle.transitions import Phase
from workspaces.models import ApiScope, Workspace
from workspaces.provisioners import guarded_calls
from workspaces.provisioners.base import (
    DEAD_STATES,
    BackendState,
    LaunchKey,
    LogPart,
    ProvisionerError,
    describe_exit,
)

READ = access("view", ApiScope.READ, own_agent=True)
# Masked at once: it takes time in proportion to the length.
PART_BYTES = 131_072
# The newest part of a log that is larger.
MOST_BYTES = 8 * 1_048_576


@dataclass(frozen=True, kw_only=True)
class ShownPart:
    """Whole lines of a log, masked, and the offset in bytes behind them."""

    text: str
    offset: int


@router.get("/{workspace_id}/logs", auth=READ)
def get_log(
    request: HttpRequest,
    workspace_id: UUID,
    stream: Annotated[
        LogStream | None, Query(description="`boot`: until the launch was online; `agent`: from then on; else all")
    ] = None,
    follow: bool = False,
    after: Annotated[str, Query(description="with `follow`: begin at this offset, or behind this ID")] = "",
) -> HttpResponse:
    """Show the log of the current launch as plain text, masked: the newest 8 MiB of what is kept.

    With `stream` only its boot output or only what its agent wrote then; 409 if it is not known where the first ended,
    or if the first is not kept any more. With `follow` new lines are sent as they are written, with the stream `boot`
    until the workspace is online or failed. If the header Accept asks for `text/event-stream`, they are server-sent
    events, which a proxy does not cut off while the log is silent. Only the ASGI server can do that (log_streams.py).
    """
    if follow:
        why = "Following a log needs the ASGI server, and this one speaks WSGI. Send this path to config.asgi."
        raise RequestRefused(HTTPStatus.NOT_IMPLEMENTED, why, code="needs_asgi")
    if after:
        why = "It needs `follow=true`."
        fields = {"after": why}
        raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, f"after: {why}", code="validation_error", fields=fields)
    workspace = find(workspace_id)
    text = whole_log(workspace, stream)
    if text is None:
        text = kept_tail(workspace, stream)
    headers = {"X-Content-Type-Options": "nosniff"}
    return HttpResponse(text, content_type="text/plain; charset=utf-8", headers=headers)


def whole_log(workspace: Workspace, stream: LogStream | None = None) -> str | None:
    """Return the log of the current launch or a part of it, masked; None if its backend has none or can't be asked.

    It ends where the log ended when this began, give or take a part, however much the agent writes meanwhile. Raises
    RequestRefused if the log can't be divided.
    """
    if workspace.is_external:
        return None
    texts: list[str] = []
    try:
        first = read_log(workspace, workspace.launch_id, offset=0, most=1)
        if not first.size:
            return None
        # Asked for afterwards: what was there while the launch was not online yet is boot output.
        span = span_of(workspace.launch_id, stream)
        span.check(first, offset=0)
        end = first.size if span.end is None else min(first.size, span.end)
        masker = masker_of_log(workspace.pk)
        offset = max(end - MOST_BYTES, span.begin)
        while offset < end:
            part = read_part(workspace, workspace.launch_id, offset=offset, is_last=True, masker=masker, span=span)
            texts.append(part.text)
            if part.offset <= offset:
                break
            offset = part.offset
    except ProvisionerError:
        # What was read so far is shown.
        return "".join(texts) if texts else None
    return "".join(texts)


def read_part(
    workspace: Workspace,
    launch_id: UUID,
    *,
    offset: int,
    is_last: bool = False,
    masker: Masker | None = None,
    span: LogSpan = WHOLE,
) -> ShownPart:
    """Return the next lines of a launch's log, as far as they begin in the span. Raises ProvisionerError.

    A line that isn't finished waits for its end, unless nothing will be written any more (`is_last`). What lies behind
    the first PART_BYTES of a line is left out, and so is the rest of a line that the offset lies in: half of a secret
    can't be recognised. Who reads many parts at once gives the workspace's `masker`. Raises RequestRefused if the span
    is not in the log any more.
    """
    from_line = max(offset - 1, 0)
    part = read_log(workspace, launch_id, offset=from_line, most=PART_BYTES)
    span.check(part, offset=from_line)
    if part.start < from_line:
        # Nothing so far behind was ever written.
        return ShownPart(text="", offset=part.size)
    data, at_start = part.data, part.start == 0 == offset
    if not at_start:
        # It begins with the line end before it, or with the rest of a line.
        data = data.partition(b"\n")[2]
    begin = part.end - len(data)
    if span.is_over(begin):
        if part.start > from_line:
            raise dropped()
        return ShownPart(text="", offset=begin)
    data = span.cut(data, begin=begin)
    lines = data.rfind(b"\n") + 1
    is_complete = (is_last and part.end >= part.size) or (not lines and len(part.data) >= PART_BYTES)
    whole = data if is_complete else data[:lines]
    if not whole:
        # Behind a line that is too long, the next part may have its end.
        return ShownPart(text="", offset=part.end if part.end > offset and not data else max(offset, part.start))
    text = (masker or masker_of_log(workspace.pk)).mask_log_lines(whole.decode(errors="replace"))
    return ShownPart(text=text, offset=begin + len(whole))


def read_log(workspace: Workspace, launch_id: UUID, *, offset: int, most: int) -> LogPart:
    """Return bytes of a launch's log as its backend keeps them. Raises ProvisionerError."""
    key = LaunchKey(workspace_id=workspace.pk, launch_id=launch_id)
    return guarded_calls.call(
        workspace.backend,
        "read_log",
        (key, offset, most),
        lambda backend: backend.read_log(key, offset=offset, most=most),
        seconds=guarded_calls.LOOK_SECONDS,
    )


def why_over(workspace: Workspace, launch_id: UUID, *, stream: LogStream | None) -> str:
    """Return in a sentence why nothing will be written any more to what is followed, or ""."""
    if workspace.is_external:
        return "Slipway runs no process for an external workspace."
    if workspace.launch_id != launch_id:
        return "Another launch has begun."
    if stream is LogStream.BOOT and not workspace.phase:
        return f"The boot has ended; the workspace is {workspace.status}."
    if workspace.phase in {Phase.QUEUED, Phase.LAUNCHING}:
        return ""
    key = LaunchKey(workspace_id=workspace.pk, launch_id=launch_id)
    seen = guarded_calls.look(workspace.backend, key, with_log=False)
    if seen.state not in DEAD_STATES:
        return ""
    return f"Its process {describe_exit(seen.exit_code)}." if seen.state == BackendState.EXITED else "Nothing runs."
