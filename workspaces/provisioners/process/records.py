"""What is read back from a launch's folder. An agent can replace it, so each field is checked.

The supervisor does not import this: it would make the fork server, and so each fork, larger.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from workspaces.provisioners.files import read_bounded
from workspaces.provisioners.process.folders import Containment, LaunchFolder

MOST_BYTES = 65_536
Text = Annotated[str, StringConstraints(max_length=1024, pattern=r"^[ -~]*$")]
# A pid and when the process started, in seconds after the host's boot: another process may get the same pid later.
ProcessID = tuple[Annotated[int, Field(gt=0, lt=2**31)], Annotated[float, Field(ge=0)]]


class Stored(BaseModel):
    """Something stored as JSON, with exactly the types given."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class Host(Stored):
    """See `this_host`."""

    machine_id: Text
    hostname: Text
    boot_id: Text
    pid_namespace: Text


class Record(Stored):
    """What a launch's supervisor recorded before the agent started."""

    host: Host
    supervisor: ProcessID
    agent: ProcessID
    port: Annotated[int, Field(gt=0, lt=65_536)]
    containment: Containment


class Exit(Stored):
    """How an agent ended. The peaks are known if it had a cgroup with these controllers."""

    exit_code: Annotated[int, Field(ge=-255, le=255)] | None = None
    memory_peak: int | None = Field(default=None, alias="memory.peak")
    pids_peak: int | None = Field(default=None, alias="pids.peak")


def record_of(folder: LaunchFolder) -> Record | None:
    """Return the supervisor's record, or None before it exists. Raises OSError, or ValueError if it is damaged."""
    content = read_bounded(folder.record, MOST_BYTES)
    try:
        return None if content is None else Record.model_validate_json(content)
    except ValidationError as error:
        raise ValueError("process.json is damaged") from error


def readable_record_of(folder: LaunchFolder) -> Record | None:
    """Return the record, or None if it can't be read, since an agent may have replaced it."""
    try:
        return record_of(folder)
    except (OSError, ValueError):
        return None


def exit_of(folder: LaunchFolder) -> Exit | None:
    """Return the recorded exit, or None before it exists; one without a code if it is damaged."""
    try:
        content = read_bounded(folder.exit, MOST_BYTES)
        return None if content is None else Exit.model_validate_json(content)
    except (OSError, ValueError):
        return Exit()
