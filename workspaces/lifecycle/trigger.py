"""The database's own guard: a trigger, generated from TRANSITIONS, that refuses what the table refuses.

A stray UPDATE from psql or a careless queryset can't get around the services. A migration holds the moves as data;
`makemigrations` writes a new one when the table has changed (see autodetector.py).
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

# Text is compared, not the enum: the function outlives a value that this database doesn't know yet.
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
    """Let the database allow these moves and no other; reversing brings back the guard of the migration before.

    `moves` are the targets by source, `first` the statuses a row may be created with, `first_external` those of an
    external workspace.
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
        """Return the SQL that puts this guard in force, whatever was before."""
        # In one order, so that equal guards are equal texts.
        pairs = sorted(f"{source}>{target}" for source, targets in self.moves.items() for target in targets)
        return sql.SQL(_GUARD).format(
            moves=_array(pairs), first=_array(self.first), first_external=_array(self.first_external)
        )

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Change nothing: a trigger is no part of the models' state."""

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        execute_with_lock_timeout(schema_editor, self.statement())

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        earlier = self._earlier(app_label)
        execute_with_lock_timeout(schema_editor, earlier.statement() if earlier else sql.SQL(_NO_GUARD))

    def _earlier(self, app_label: str) -> "GuardMoves | None":
        graph = MigrationLoader(None).graph
        (leaf,) = graph.leaf_nodes(app_label)
        plan = [one for key in graph.forwards_plan(leaf) for one in graph.nodes[key].operations]
        guards = [operation for operation in plan if isinstance(operation, GuardMoves)]
        places = [place for place, guard in enumerate(guards) if guard is self]
        return guards[places[0] - 1] if places and places[0] else None

    def describe(self) -> str:
        return f"Let the database allow {sum(map(len, self.moves.values()))} moves of a workspace, and no other"

    @property
    def migration_name_fragment(self) -> str:
        return "guard_moves"


def guard_from_transitions() -> GuardMoves:
    """Return the guard that TRANSITIONS asks for now."""
    allowed = allowed_moves()
    created = [row for row in TRANSITIONS if not row.sources]
    return GuardMoves(
        moves={
            source.value: [target.value for target in WorkspaceStatus if (source, target) in allowed]
            for source in WorkspaceStatus
        },
        first=[row.target.value for row in created if not row.is_external],
        first_external=[row.target.value for row in created if row.is_external],
    )


def _array(values: Sequence[str]) -> sql.Composable:
    items: list[Any] = [sql.Literal(value) for value in values]
    return sql.SQL("ARRAY[{}]::text[]").format(sql.SQL(", ").join(items))
