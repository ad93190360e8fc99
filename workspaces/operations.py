"""What an operator can do to a workspace, as one table.

Admin actions, management commands, API routes and docs/reference/operations.md are made from OPERATIONS.
To add a row, see docs/how-to/add-a-verb.md.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db import DatabaseError, InterfaceError, transaction

from postgres.clock import database_now
from workspaces import tasks
from workspaces.lifecycle.transitions import TRANSITIONS, Verb, WorkspaceStatus
from workspaces.models import Workspace
from workspaces.services.core.guarded_rows import RowGuard
from workspaces.services.core.transition import TransitionRefused, UnknownWorkspace
from workspaces.services.core.trees import TreeChanged, lock_in_tree, lock_tree, parents_first
from workspaces.services.launching import fail
from workspaces.services.launching import restart as restart_service
from workspaces.services.launching import resume as resume_service
from workspaces.services.launching import wake as wake_service
from workspaces.services.launching.configuration_changes import has_other_configuration
from workspaces.services.stopping import hibernate as hibernate_service
from workspaces.services.stopping import pause as pause_service
from workspaces.services.stopping import remove as remove_service
from workspaces.services.watching import budgets

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class OperationResult:
    """The workspaces that an operation changed, the requested one first, and those that it could not change.

    `token` is an external workspace's new token. It is shown once and not stored.
    """

    changed: list[Workspace]
    skipped: list[Workspace] = field(default_factory=list)
    token: str = ""

    @property
    def workspace(self) -> Workspace:
        return self.changed[0]


@dataclass(frozen=True, kw_only=True)
class Option:
    """A switch: `--force` of the command, `?force=true` of the API, `force=True` of the function."""

    name: str
    help: str

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A row of the table."""

    # Names the command, the API path and the admin URL.
    name: str
    # What the table of transitions calls it.
    verb: Verb
    # Takes the workspace's ID, then each option as a keyword argument.
    run: Callable[..., OperationResult]
    label: str
    # As in "2 paused."
    past: str
    # The command's help and the API's description.
    help: str
    # The text of the admin's confirmation page.
    question: str
    # A Material symbol: https://fonts.google.com/icons
    icon: str
    options: tuple[Option, ...] = ()
    # Arguments that the command's help shows.
    examples: tuple[str, ...] = ("nightly",)
    # Applies to descendants too.
    cascades: bool = False
    # Asks also for a selection on the admin's list, and names the affected workspaces.
    asks_first: bool = False
    is_dangerous: bool = False
    permission: Literal["change", "delete"] = "change"
    method: Literal["POST", "DELETE"] = "POST"
    # Below /workspaces/{workspace_id}; None: `/` and the name.
    path: str | None = None
    # `run` takes `by`, the name of the operator, too.
    records_operator: bool = False
    # The options that the admin runs it with: its confirmation page has asked for them.
    admin_options: Mapping[str, bool] = field(default_factory=dict)
    # Whether a workspace's page has its button, besides its status.
    is_offered: Callable[[Workspace], bool] = lambda workspace: True
    # Has no command and no API route of its own.
    is_admin_only: bool = False

    @property
    def api_path(self) -> str:
        """Return the path of the API route, below /workspaces."""
        return "/{workspace_id}" + (f"/{self.name}" if self.path is None else self.path)

    @property
    def sources(self) -> frozenset[WorkspaceStatus]:
        """Return the statuses from which the table of transitions lets it start."""
        return frozenset(status for row in TRANSITIONS if row.verb == self.verb for status in row.sources)


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """What an operation did to several workspaces.

    `tokens` are pairs of a workspace's name and its new token, to show once and not store.
    """

    past: str
    changed: int
    refused: list[str]
    tokens: list[tuple[str, str]]

    @property
    def summary(self) -> str:
        """Return one sentence: `2 restarted, 1 refused: …`."""
        parts = [f"{self.changed} {self.past}"] if self.changed or not self.refused else []
        if self.refused:
            parts.append(f"{len(self.refused)} refused: {' '.join(self.refused)}")
        sentence = ", ".join(parts)
        return sentence if sentence.endswith(".") else sentence + "."


# --- One service call each, and the tasks that follow from it --------------------------------------


def restart(workspace_id: UUID, *, previous_configuration: bool = False) -> OperationResult:
    """Begin a new launch; an external workspace gets a new token."""
    now = database_now()
    restarted = restart_service.restart(
        workspace_id=workspace_id, now=now, previous_configuration=previous_configuration
    )
    tasks.enqueue_due_teardowns(now=now, workspace_id=workspace_id)
    _enqueue_launches([restarted.workspace], now=now)
    return OperationResult(changed=[restarted.workspace], token=restarted.token)


def cancel(workspace_id: UUID, *, by: str) -> OperationResult:
    """Fail the current launch. `by` names the operator in the failure message."""
    now = database_now()
    workspace = fail.cancel(workspace_id=workspace_id, by=by, now=now)
    tasks.enqueue_due_teardowns(now=now, workspace_id=workspace_id)
    return OperationResult(changed=[workspace])


def pause(workspace_id: UUID) -> OperationResult:
    """Stop a workspace and its descendants until somebody resumes them."""
    now = database_now()
    cascade = pause_service.pause(workspace_id=workspace_id, now=now)
    tasks.enqueue_due_teardowns(now=now)
    return OperationResult(changed=cascade.changed, skipped=cascade.refused)


def resume(workspace_id: UUID) -> OperationResult:
    """Launch a workspace again, and the descendants that its pause stopped."""
    now = database_now()
    cascade = resume_service.resume(workspace_id=workspace_id, now=now)
    _enqueue_launches(cascade.changed, now=now)
    return OperationResult(changed=cascade.changed, skipped=cascade.refused)


def hibernate(workspace_id: UUID, *, force: bool = False) -> OperationResult:
    """Stop a workspace until something needs it. Only `force` stops one that has active tasks."""
    now = database_now()
    workspace = hibernate_service.hibernate(workspace_id=workspace_id, forced=force, now=now)
    tasks.enqueue_due_teardowns(now=now, workspace_id=workspace_id)
    return OperationResult(changed=[workspace])


def wake(workspace_id: UUID) -> OperationResult:
    """Launch a hibernated workspace again."""
    now = database_now()
    workspace = wake_service.wake(workspace_id=workspace_id, now=now)
    _enqueue_launches([workspace], now=now)
    return OperationResult(changed=[workspace])


def remove(workspace_id: UUID, *, confirm: bool = False) -> OperationResult:
    """Remove a workspace and its descendants. Raises HasChildren if it has children and `confirm` is false."""
    now = database_now()
    cascade = remove_service.remove(workspace_id=workspace_id, confirmed=confirm, now=now)
    tasks.enqueue_due_teardowns(now=now)
    return OperationResult(changed=cascade.changed, skipped=cascade.refused)


def enforce_budget(workspace_id: UUID) -> bool:
    """Tell that a workspace has reached a level of its budget, and pause it at its limit if it says so.

    Return False if that failed. Nothing is raised, since what the budget is held against is stored already; the error
    is logged, and the agent's next heartbeat that says what was spent repeats this.
    """
    guard = RowGuard[UUID](what="A budget could not be enforced")
    try:
        with guard.handling(workspace_id):
            now = database_now()
            if budgets.enforce(workspace_id, now=now):
                tasks.enqueue_due_teardowns(now=now)
    except (DatabaseError, InterfaceError):
        logger.exception(guard.what, extra={"workspace_id": workspace_id})
        return False
    return not guard.failures


def _enqueue_launches(workspaces: Iterable[Workspace], *, now: datetime) -> None:
    for backend in {workspace.backend for workspace in workspaces if not workspace.is_external}:
        tasks.enqueue_launches(backend, now=now)


# --- The table, in the order of the admin's buttons ------------------------------------------------

OPERATIONS = (
    Operation(
        name="restart",
        verb=Verb.RESTART,
        run=restart,
        label="Restart",
        past="restarted",
        help="Stop the current launch, confirm that it is gone, and begin a new one. "
        "An external workspace gets a new token.",
        question="The current launch is stopped, confirmed gone, and replaced by a new one.",
        icon="restart_alt",
        options=(
            Option(
                name="previous_configuration",
                help="launch it as it was configured when it last came online, although its template has changed",
            ),
        ),
        examples=("nightly reviewer", "--previous-configuration nightly"),
    ),
    Operation(
        name="relaunch-as-before",
        verb=Verb.RESTART,
        run=restart,
        label="Relaunch as before",
        past="restarted as before",
        help="Restart a workspace with the configuration it had when it last came online.",
        question="The current launch is stopped and replaced by one with the configuration that the workspace had when "
        "it last came online. It keeps that configuration until the next plain restart.",
        icon="history",
        admin_options={"previous_configuration": True},
        is_admin_only=True,
        is_offered=has_other_configuration,
    ),
    Operation(
        name="pause",
        verb=Verb.PAUSE,
        run=pause,
        label="Pause",
        past="paused",
        help="Stop a workspace and its descendants until somebody resumes them. Their data is kept.",
        question="Paused workspaces stay stopped until somebody resumes them. Their data is kept.",
        icon="pause",
        examples=("nightly", "6f1c8e0a-0000-4000-8000-000000000000 reviewer"),
        cascades=True,
        asks_first=True,
    ),
    Operation(
        name="resume",
        verb=Verb.RESUME,
        run=resume,
        label="Resume",
        past="resumed",
        help="Launch a paused workspace again, and the descendants that its pause stopped.",
        question="The workspace is launched again, and so are the descendants that its pause stopped.",
        icon="play_arrow",
        cascades=True,
    ),
    Operation(
        name="hibernate",
        verb=Verb.HIBERNATE,
        run=hibernate,
        label="Hibernate",
        past="hibernating",
        help="Stop an idle workspace until an operator or a request wakes it.",
        question="The workspace is stopped until an operator or a request wakes it. "
        "This is refused if it has active tasks.",
        icon="bedtime",
        options=(Option(name="force", help="stop it even if it has active tasks; their unsaved work is lost"),),
        examples=("nightly", "--force nightly"),
    ),
    Operation(
        name="force-hibernation",
        verb=Verb.HIBERNATE,
        run=hibernate,
        label="Force hibernation",
        past="hibernating",
        help="Stop a workspace until an operator or a request wakes it, even if it has active tasks.",
        question="The workspaces are stopped even if they have active tasks. Unsaved work is lost.",
        icon="bedtime",
        asks_first=True,
        is_dangerous=True,
        admin_options={"force": True},
        is_admin_only=True,
    ),
    Operation(
        name="wake",
        verb=Verb.WAKE,
        run=wake,
        label="Wake",
        past="woken",
        help="Launch a hibernated workspace again. It has the data it had before.",
        question="The workspace is launched again. It has the data it had before.",
        icon="wb_sunny",
    ),
    Operation(
        name="cancel",
        verb=Verb.FAIL,
        run=cancel,
        label="Cancel launch",
        past="cancelled",
        help="Fail the current launch of a workspace that is provisioning.",
        question="The launch is failed and its process stopped. To launch the workspace again, restart it.",
        icon="cancel",
        records_operator=True,
    ),
    Operation(
        name="remove",
        verb=Verb.REMOVE,
        run=remove,
        label="Remove",
        past="removed",
        help="Remove a workspace and its descendants for good: process, files, secrets and tokens. "
        "Their events and launches are kept.",
        question="The workspaces are stopped, and their secrets and files are deleted. This can't be undone. "
        "Their launches and events are kept.",
        icon="delete",
        options=(Option(name="confirm", help="remove the descendants too"),),
        examples=("nightly", "--confirm team"),
        cascades=True,
        asks_first=True,
        is_dangerous=True,
        permission="delete",
        method="DELETE",
        path="",
        admin_options={"confirm": True},
    ),
)


def run_one(
    operation: Operation,
    workspace_id: UUID,
    *,
    by: str,
    options: Mapping[str, bool],
    check: Callable[[Workspace], None] | None = None,
) -> OperationResult:
    """Run an operation on one workspace. `by` names the operator.

    `check` gets the locked workspace first and may raise, unless it was removed: the operation itself refuses that.
    """
    keywords = {**options, "by": by} if operation.records_operator else options
    if check is None:
        return operation.run(workspace_id, **keywords)
    with transaction.atomic():
        # At least the locks that the operation takes, in the same order.
        locked = lock_tree(workspace_id)[0] if operation.cascades else lock_in_tree(workspace_id)
        if locked.status != WorkspaceStatus.REMOVED:
            check(locked)
        return operation.run(workspace_id, **keywords)


def run_each(
    operation: Operation, workspace_ids: Iterable[UUID], *, by: str, options: Mapping[str, bool]
) -> BulkResult:
    """Run an operation on each workspace, in one transaction each, parents first, whatever one of them raises.

    A workspace that an earlier one's cascade has changed is not run again.
    """
    changed: set[UUID] = set()
    refused: list[str] = []
    tokens: list[tuple[str, str]] = []
    guard = RowGuard[UUID](what=f"{operation.label} failed")
    for workspace_id in parents_first(workspace_ids):
        if workspace_id in changed:
            continue
        with guard.handling(workspace_id):
            try:
                result = run_one(operation, workspace_id, by=by, options=options)
            except (TransitionRefused, UnknownWorkspace, TreeChanged, remove_service.HasChildren) as error:
                refused.append(str(error))
                continue
            changed |= {workspace.pk for workspace in result.changed}
            refused += [f"{workspace.name} could not be changed; see the log." for workspace in result.skipped]
            if result.token:
                tokens.append((result.workspace.name, result.token))
    names = dict(Workspace.objects.filter(pk__in=[each.row for each in guard.failures]).values_list("pk", "name"))
    refused += [f"{names.get(each.row, each.row)}: {each.text}" for each in guard.failures]
    return BulkResult(past=operation.past, changed=len(changed), refused=refused, tokens=tokens)
