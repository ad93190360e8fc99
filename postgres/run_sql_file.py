"""A migration operation that runs a .sql file, so that people and tools read SQL functions as files."""

from pathlib import Path

from django.db.migrations.operations import RunSQL


class RunSQLFile(RunSQL):
    """Run the SQL in a file; reversing runs `reverse_sql`.

    To change a function, edit its file and run the file again in a new migration. Keep its arguments: a function with
    other arguments needs a file and a name of its own, since code that is still running calls the old one.
    """

    def __init__(self, path: Path, *, reverse_sql: str) -> None:
        super().__init__(path.read_text(), reverse_sql)
