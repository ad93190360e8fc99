"""How long a statement may run or wait for a lock, by what the process does. The backend sets it on each connection.

Postgres itself waits without end, so one forgotten transaction would take along every process that meets its locks.
"""

from enum import StrEnum

from django.conf import settings


class ProcessRole(StrEnum):
    """What a process does. The values are the beginnings of its settings' names."""

    # Migrations, imports and whatever an operator types take as long as they need.
    COMMAND = "COMMAND"
    WEB = "WEB"
    WORKER = "WORKER"


_roles = [ProcessRole.COMMAND]


def set_process_role(role: ProcessRole) -> None:
    """Give the connections that this process opens from now on the limits of this role."""
    _roles[:] = [role]


def server_options() -> str:
    """Return libpq's `options` with the limits of this process. Commands have none, also if their database user has."""
    (role,) = _roles
    if role is ProcessRole.COMMAND:
        return "-c lock_timeout=0 -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
    limits = {
        "lock_timeout": getattr(settings, f"{role}_LOCK_TIMEOUT_SECONDS"),
        "statement_timeout": getattr(settings, f"{role}_STATEMENT_TIMEOUT_SECONDS"),
        "idle_in_transaction_session_timeout": getattr(settings, f"{role}_IDLE_TRANSACTION_SECONDS"),
    }
    return " ".join(f"-c {name}={seconds}s" for name, seconds in limits.items())
