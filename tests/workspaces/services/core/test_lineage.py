"""The subject of an event: its workspace and all ancestors, as they were when it was recorded."""

import pytest

from events.models import Event
from tests.workspaces import factories
from workspaces.services.core.lineage import ancestors_by_parent, event_subjects

pytestmark = pytest.mark.django_db


def test_an_event_holds_all_ancestors_of_its_workspace_nearest_first():
    root = factories.online(name="root")
    middle = factories.online(name="middle", parent_id=root.pk)
    leaf = factories.online(name="leaf", parent_id=middle.pk)
    subjects = Event.objects.filter(workspace_id=leaf.pk).values_list("subject", flat=True)
    assert len(subjects) >= 2
    for subject in subjects:
        assert subject == {"name": "leaf", "runtime": "echo", "ancestors": [str(middle.pk), str(root.pk)]}


def test_ancestors_of_many_workspaces_take_one_query_and_those_of_roots_none(django_assert_num_queries):
    roots = [factories.online(), factories.online()]
    children = [factories.online(parent_id=root.pk) for root in roots for _ in range(2)]
    with django_assert_num_queries(1):
        subjects = event_subjects(children)
    assert [subject["ancestors"] for subject in subjects] == [[str(child.parent_id)] for child in children]
    with django_assert_num_queries(0):
        assert event_subjects(roots)[0]["ancestors"] == []
        assert ancestors_by_parent([None]) == {None: []}
