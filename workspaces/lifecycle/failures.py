"""Who has to fix a failure and what to do about it, by its code and the evidence."""

from collections.abc import Mapping
from typing import Any

from workspaces.lifecycle.transitions import FailureCode, FailureOwner, FailureSource
from workspaces.provisioners.base import BackendState

_OWNER_BY_CODE = {
    FailureCode.MISSING_ENV: FailureOwner.CONFIGURATION,
    FailureCode.BAD_CONFIG: FailureOwner.CONFIGURATION,
    # SECRETS_KEYS is a setting of Slipway.
    FailureCode.SECRET_UNREADABLE: FailureOwner.PLATFORM,
    # No worker took it from Slipway's own queue.
    FailureCode.NEVER_LAUNCHED: FailureOwner.PLATFORM,
    FailureCode.LAUNCH_ERROR: FailureOwner.BACKEND,
}
_ADVICE = {
    FailureCode.MISSING_ENV: "Add the missing variables to its secrets or to the global secrets, then restart it.",
    FailureCode.BAD_CONFIG: "Correct its configuration where the message points, then restart it.",
    FailureCode.SECRET_UNREADABLE: "Enter that secret again, or add its old key to SECRETS_KEYS, then restart it.",
    FailureCode.NEVER_LAUNCHED: "Check that launch workers run and that their backend accepts launches, then restart.",
    FailureCode.LAUNCH_ERROR: "Check its backend and the launch worker's log, then restart it.",
    FailureCode.CRASHED: "Read the end of its log, fix what it names, then restart it.",
    FailureCode.CRASH_LOOP: "Read the end of its log and fix what it names. When its policy has given up, restart it.",
    FailureCode.TIMED_OUT: "Check its last boot step and its log. If that step is slow but healthy, raise the limit.",
    FailureCode.STALLED: (
        "Check its current boot step. If that step is slow but healthy, raise the stall limit, then restart."
    ),
    FailureCode.CANCELLED: "Restart it when you need it again.",
}


def owner_of(code: str, *, source: str, evidence: Mapping[str, Any]) -> FailureOwner:
    """Return who has to fix a failure. `evidence` is the last observation of the launch, or empty: {state, exit_code}.

    A crash belongs to the image if the agent or the log reports it, or if the process exited by itself; to the backend
    if the backend lost it. Nothing else is known of a process that a signal killed.
    """
    if code not in (FailureCode.CRASHED, FailureCode.CRASH_LOOP):
        return _OWNER_BY_CODE.get(FailureCode(code), FailureOwner.UNKNOWN)
    if source == FailureSource.AGENT or evidence.get("said_failed"):
        return FailureOwner.IMAGE
    if evidence.get("state") == BackendState.MISSING:
        return FailureOwner.BACKEND
    exit_code = evidence.get("exit_code")
    exited_by_itself = evidence.get("state") == BackendState.EXITED and exit_code is not None and exit_code >= 0
    return FailureOwner.IMAGE if exited_by_itself else FailureOwner.UNKNOWN


def advice_for(code: str) -> str:
    """Return what an operator should do about a failure with this code."""
    return _ADVICE.get(FailureCode(code), "")
