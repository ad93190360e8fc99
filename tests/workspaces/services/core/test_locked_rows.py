"""Rows read by our own statement equal those that the ORM reads."""

from uuid import uuid4

import pytest
from django.db import transaction
from django.db.transaction import TransactionManagementError

from tests.workspaces.factories import booting, failed
from workspaces.models import Workspace
from workspaces.services.core import locked_rows


def fields(found):
    """Return each row's values with their types, because a status equals its string."""
    return [{name: (type(value), value) for name, value in vars(row).items() if name != "_state"} for row in found]


@pytest.mark.django_db
def test_each_field_is_what_the_orm_reads_in_the_order_of_ids():
    known = [booting(), failed()]
    ids = [row.pk for row in reversed(known)]
    Workspace.objects.filter(pk=known[0].pk).update(labels={"a": [1, None]}, parent=known[1], budget_limit=10**12)
    expected = list(Workspace.objects.filter(pk__in=ids).order_by("pk"))
    assert fields(locked_rows.read([*ids, *ids, uuid4()])) == fields(expected)
    with transaction.atomic():
        assert fields(locked_rows.read_locked(ids)) == fields(expected)
    assert locked_rows.read([]) == []


@pytest.mark.django_db(transaction=True)
def test_nothing_is_locked_outside_a_transaction():
    with pytest.raises(TransactionManagementError):
        locked_rows.read_locked([booting().pk])
