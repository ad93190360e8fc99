"""A call that fails at one of its statements has changed nothing: an error never hides that something was done."""

from itertools import count

import pytest
from django.db import connection, transaction

from tests.config.api.refusals.world import CHANGING, stored

pytestmark = pytest.mark.django_db
# Outside of a test they are those of a transaction, and a service's are never nested in another's.
OF_TRANSACTIONS = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK")


class Broken(Exception):
    """What a statement raises here."""


def failing(number):
    """Return a wrapper that lets the statement of this number fail, and whether it has."""
    numbers, failed = count(), []

    def execute(run, sql, params, many, context):
        if not str(sql).startswith(OF_TRANSACTIONS) and next(numbers) == number:
            failed.append(sql)
            raise Broken(sql)
        return run(sql, params, many, context)

    return execute, failed


@pytest.mark.parametrize("call", CHANGING)
def test_a_call_that_fails_at_any_of_its_statements_has_changed_nothing(world, call):
    send, before, wrong = world.prepared(call), stored(), []
    for number in count():
        with transaction.atomic():
            execute, failed = failing(number)
            with connection.execute_wrapper(execute):
                answer = send()
            # A failed statement that is no part of a service's transaction undoes nothing but itself.
            transaction.set_rollback(False)
            after = stored()
            callbacks = connection.run_on_commit
            assert all(robust for _, _, robust in callbacks), "What follows a commit must not fail the call."
            transaction.set_rollback(True)
        if not failed:
            assert answer.status_code < 300, answer.content
            break
        if answer.status_code >= 400 and after != before:
            changed = [table for table in after if after[table] != before[table]]
            wrong.append((number, str(failed[0])[:120], changed))
    assert number > 1
    assert wrong == []
