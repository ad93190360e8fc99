"""A list of any length takes the same number of queries."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.config.api.lists.rows import LISTS, Reader, fill

pytestmark = pytest.mark.django_db

# Their length depends on no row that the test could add.
OF_ANOTHER_LENGTH = {"GET /templates", "GET /settings/deadlines", "GET /workspaces/{workspace_id}/usage"}


def queries_of(reader):
    """Return the statements of one answer, and how many rows it has."""
    with CaptureQueriesContext(connection) as queries:
        rows = reader.rows()
    return [query["sql"] for query in queries], len(rows)


@pytest.mark.parametrize("call", sorted(LISTS))
def test_a_list_takes_the_same_queries_however_long_it_is(call):
    fill(3)
    reader = Reader(call)
    few, short = queries_of(reader)
    fill(57)
    many, long = queries_of(reader)
    assert len(many) == len(few), [statement[:120] for statement in many]
    assert call in OF_ANOTHER_LENGTH or (short < 10 and long >= 31), (short, long)
