"""The database trigger, generated from TRANSITIONS, that refuses every other change of a status.

An UPDATE in psql or by a queryset can't bypass the services. Migrations contain the allowed moves as data;
`makemigrations` writes a new migration when TRANSITIONS has changed (see autodetector.py).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from psycopg import sql

from postgres.enum_operations import execute_with_lock_timeout
from workspaces.lifecycle.transitions import TRANSITIONS, WorkspaceStatus, allowed_moves

FUNCTION = "workspaces_workspace_guard"

# It compares text instead of enum values, because it may name a value that this database doesn't have yet.
_GUARD = """
CREATE OR REPLACE FUNCTION workspaces_workspace_guard() RETURNS trigger LANGUAGE plpgsql AS $guard$
DECLARE
    moves CONSTANT text[] := {moves};
    first CONSTANT text[] := {first};
    first_external CONSTANT text[] := {first_external};
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NOT NEW.status::text = ANY (CASE WHEN NEW.backend = 'external' THEN first_external ELSE first END) THEN
            RAISE EXCEPTION 'A workspace of backend % can''t be created as %: no verb does that.',
                NEW.backend, NEW.status
                USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'workspace_created_by_a_verb';
        END IF;
        IF NEW.version <> 1 THEN
            RAISE EXCEPTION 'A workspace is created with version 1, not %.', NEW.version
                USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'workspace_version_counts_moves';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.status = OLD.status AND NEW.launch_id = OLD.launch_id THEN
        RAISE EXCEPTION 'Workspace % stays %, so its version stays % (not %): it counts moves only.',
            OLD.id, OLD.status, OLD.version, NEW.version
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'workspace_version_counts_moves';
    END IF;
    IF NOT OLD.status::text || '>' || NEW.status::text = ANY (moves) THEN
        RAISE EXCEPTION 'Workspace % can''t go from % to %: no verb of the lifecycle leads there.',
            OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'workspace_moves_along_an_edge',
                HINT = 'docs/lifecycle.md lists the moves; make them by manage.py, the admin or the API.';
    END IF;
    IF NEW.version <> OLD.version + 1 THEN
        RAISE EXCEPTION 'Workspace % goes from % to % with version % after %: a move raises it by exactly one.',
            OLD.id, OLD.status, NEW.status, NEW.version, OLD.version
            USING ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'workspace_version_counts_moves';
    END IF;
    RETURN NEW;
END
$guard$;
CREATE OR REPLACE TRIGGER workspace_guard_first BEFORE INSERT ON workspaces_workspace
    FOR EACH ROW EXECUTE FUNCTION workspaces_workspace_guard();
CREATE OR REPLACE TRIGGER workspace_guard_moves BEFORE UPDATE ON workspaces_workspace
    FOR EACH ROW WHEN (
        OLD.status IS DISTINCT FROM NEW.status
        OR OLD.launch_id IS DISTINCT FROM NEW.launch_id
        OR OLD.version IS DISTINCT FROM NEW.version
    ) EXECUTE FUNCTION workspaces_workspace_guard();
"""
_NO_GUARD = """
DROP TRIGGER workspace_guard_moves ON workspaces_workspace;
DROP TRIGGER workspace_guard_first ON workspaces_workspace;
DROP FUNCTION workspaces_workspace_guard();
"""


class GuardMoves(Operation):
    """Make the database allow these moves and no others; reversing it restores the moves of the migration before.

    `moves` maps each status to the statuses it may lead to. `first` are the statuses of new rows, `first_external`
    those of new external workspaces.
    """

    reversible = True

    def __init__(
        self, *, moves: Mapping[str, Sequence[str]], first: Sequence[str], first_external: Sequence[str]
    ) -> None:
        self.moves = {source: list(targets) for source, targets in moves.items()}
        self.first = list(first)
        self.first_external = list(first_external)

    def is_same_as(self, other: "GuardMoves | None") -> bool:
        return other is not None and self.deconstruct() == other.deconstruct()

    def statement(self) -> sql.Composed:
        """Return the SQL that installs this guard, whichever was installed before."""
        # Sorted, so that equal guards have equal SQL.
        pairs = sorted(f"{source}>{target}" for source, targets in self.moves.items() for target in targets)
        return sql.SQL(_GUARD).format(
            moves=_array(pairs), first=_array(self.first), first_external=_array(self.first_external)
        )

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: the state of the models has no triggers."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        execute_with_lock_timeout(schema_editor, self.statement())

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        graph = MigrationLoader(None).graph
        (leaf,) = graph.leaf_nodes(app_label)
        operations = [operation for key in graph.forwards_plan(leaf) for operation in graph.nodes[key].operations]
        guards = [operation for operation in operations if isinstance(operation, GuardMoves)]
        position = next((index for index, guard in enumerate(guards) if guard is self), 0)
        execute_with_lock_timeout(schema_editor, guards[position - 1].statement() if position else sql.SQL(_NO_GUARD))

    def describe(self) -> str:
        return f"Make the database allow {sum(map(len, self.moves.values()))} moves of a workspace, and no others"

    @property
    def migration_name_fragment(self) -> str:
        return "guard_moves"


def guard_from_transitions() -> GuardMoves:
    """Return the guard that allows exactly TRANSITIONS."""
    allowed = allowed_moves()
    creations = [rule for rule in TRANSITIONS if not rule.sources]
    return GuardMoves(
        moves={
            source.value: [target.value for target in WorkspaceStatus if (source, target) in allowed]
            for source in WorkspaceStatus
        },
        first=[rule.target.value for rule in creations if not rule.is_external],
        first_external=[rule.target.value for rule in creations if rule.is_external],
    )


def _array(values: Sequence[str]) -> sql.Composable:
    items: list[Any] = [sql.Literal(value) for value in values]
    return sql.SQL("ARRAY[{}]::text[]").format(sql.SQL(", ").join(items))
