"""Whose a failure is, and what to do about it: by its code and the evidence. Time alone accuses nobody."""

from collections.abc import Mapping
from typing import Any

from workspaces.lifecycle.transitions import FailureCode, FailureOwner, FailureSource
from workspaces.provisioners.base import BackendState

_BY_CODE = {
    FailureCode.MISSING_ENV: FailureOwner.CONFIGURATION,
    FailureCode.BAD_CONFIG: FailureOwner.CONFIGURATION,
    # The keys that decrypt secrets are the platform's.
    FailureCode.SECRET_UNREADABLE: FailureOwner.PLATFORM,
    # It is known that nothing took it from our own queue.
    FailureCode.NEVER_LAUNCHED: FailureOwner.PLATFORM,
    FailureCode.LAUNCH_ERROR: FailureOwner.BACKEND,
}
_ADVICE = {
    FailureCode.MISSING_ENV: "Add the missing variables to its secrets or to the global secrets, then restart it.",
    FailureCode.BAD_CONFIG: "Correct its configuration where the message points, then restart it.",
    FailureCode.SECRET_UNREADABLE: "Enter that secret again, or give SECRETS_KEYS its old key back, then restart it.",
    FailureCode.NEVER_LAUNCHED: "Check that launch workers run and that their backend takes launches, then restart it.",
    FailureCode.LAUNCH_ERROR: "Look at its backend and at the launch worker's log, then restart it.",
    FailureCode.CRASHED: "Read the end of its log, mend what it names, then restart it.",
    FailureCode.TIMED_OUT: "Look at its last boot step and its log; raise its limit if that is known to be slow.",
    FailureCode.STALLED: "Look at the boot step it stands at; raise its stall limit if that one is slow; restart it.",
    FailureCode.CANCELLED: "Restart it when it is wanted again.",
}


def owner_of(code: str, *, source: str, evidence: Mapping[str, Any]) -> FailureOwner:
    """Return whose a failure is. `evidence` is what its backend said last: {state, exit_code, …}, or nothing."""
    if code == FailureCode.CRASHED:
        return _owner_of_crash(source, evidence)
    return _BY_CODE.get(FailureCode(code), FailureOwner.UNKNOWN)


def _owner_of_crash(source: str, evidence: Mapping[str, Any]) -> FailureOwner:
    if source == FailureSource.AGENT:
        # The agent saw a boot step or its own runtime fail.
        return FailureOwner.IMAGE
    if evidence.get("said_failed"):
        # Its own log says so.
        return FailureOwner.IMAGE
    if evidence.get("state") == BackendState.MISSING:
        return FailureOwner.BACKEND
    exit_code = evidence.get("exit_code")
    # A signal comes from outside the process, and an outside watcher names no owner.
    is_own_end = evidence.get("state") == BackendState.EXITED and exit_code is not None and exit_code >= 0
    return FailureOwner.IMAGE if is_own_end else FailureOwner.UNKNOWN


def advice_for(code: str) -> str:
    """Return what an operator does next about a failure with this code."""
    return _ADVICE.get(FailureCode(code), "")
