"""docs/how-to/deploy.md says what the code does."""

import re

from django.conf import settings
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db.migrations.loader import MigrationLoader

PAGE = " ".join((settings.BASE_DIR / "docs/how-to/deploy.md").read_text().split())


def test_the_page_names_each_migration_that_builds_an_index_concurrently():
    concurrent = {
        (migration.app_label, migration.name[:4])
        for migration in MigrationLoader(None).disk_migrations.values()
        if any(isinstance(operation, AddIndexConcurrently) for operation in migration.operations)
    }
    [(workspaces, events)] = re.findall(r"Migrations ([\d, and]+?) of `workspaces` and ([\d, and]+?) of `events`", PAGE)
    said = {"workspaces": workspaces, "events": events}
    assert {(app, number) for app, text in said.items() for number in re.findall(r"\d{4}", text)} == concurrent


def test_the_web_processes_listen_on_the_ports_that_nginx_passes_requests_to():
    rows = re.findall(r"\| web: [^|]+\| ([^|]+) \|", PAGE)
    # Without `--port` granian listens on 8000.
    listening = [(re.findall(r"--port (\d+)", row) or ["8000"])[0] for row in rows]
    assert len(rows) == 3
    assert sorted(listening) == sorted(re.findall(r"server 127\.0\.0\.1:(\d+);", PAGE))
