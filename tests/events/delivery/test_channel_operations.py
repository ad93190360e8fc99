"""What operators do with channels: test them and rotate their secrets; encrypted options."""

import pytest

from events.delivery import channel_operations
from events.models import Channel, Delivery
from postgres.clock import database_now
from tests.events.channels import factories
from tests.events.channels.receivers import Answer

pytestmark = pytest.mark.django_db


def test_a_test_returns_the_receiver_s_answer_and_queues_nothing(receiver):
    stored = factories.webhook(receiver.url)
    receiver.answer = lambda request: Answer(202, body=b"noted")
    answer = channel_operations.send_test(stored, now=database_now())
    assert (answer.is_accepted, answer.answer, answer.response) == (True, "HTTP 202", "noted")
    (body,) = receiver.messages(factories.signing_secret(stored))
    assert body["type"] == channel_operations.TEST_EVENT
    receiver.answer = lambda request: Answer(500, body=b"oops")
    answer = channel_operations.send_test(stored, now=database_now())
    assert (answer.is_accepted, answer.response) == (False, "oops")
    assert answer.answer == "HTTP 500 The receiver answered 500."
    assert not Delivery.objects.exists()


def test_secret_options_are_encrypted_at_rest(receiver):
    stored = factories.webhook(receiver.url, headers={"Authorization": "Bearer s3cr3t"})
    row = Channel.objects.filter(pk=stored.pk).values().get()
    assert "s3cr3t" not in str(row)
    assert receiver.url not in str(row)
    assert "whsec_" not in str(row)


def test_a_rotated_secret_is_stored_and_the_old_one_still_signs(receiver):
    stored = factories.webhook(receiver.url)
    old = factories.signing_secret(stored)
    new = channel_operations.rotate_secret(stored, now=database_now())
    stored.refresh_from_db()
    assert factories.signing_secret(stored) == new != old
    channel_operations.send_test(stored, now=database_now())
    assert len(receiver.messages(old)) == len(receiver.messages(new)) == 1
