"""A workspace that was read in part can load its other fields and be saved."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.workspaces.factories import booting
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


def test_a_field_that_was_not_read_is_read_when_asked_for():
    stored = booting(name="story")
    with CaptureQueriesContext(connection) as queries:
        row = Workspace.objects.only("id", "status").get(pk=stored.pk)
        assert row.get_deferred_fields() >= {"name", "version", "config"}
        assert (row.name, row.version, row.name) == ("story", stored.version, "story")
    assert len(queries) == 3
    assert row == stored


def test_a_workspace_that_was_read_is_saved_as_an_update():
    row = Workspace.objects.select_related("parent", "heartbeat").get(pk=booting(parent_id=booting(name="above").pk).pk)
    assert (row._state.adding, row._state.db) == (False, "default")
    assert row.parent is not None
    assert row.parent.name == "above"
    row.name = "renamed"
    row.save(update_fields=["name"])
    row.refresh_from_db()
    assert (Workspace.objects.count(), row.name) == (2, "renamed")
