"""No secret and no token reaches a row, an event or a log."""

import json

import pytest

from events.masking.masker import LOG_TAIL_BYTES, MASK, Masker, last_bytes
from events.models import Event
from tests.workspaces.factories import booting
from workspaces.access import secrets
from workspaces.access.masking import masker_of
from workspaces.access.tokens import mint_agent_token
from workspaces.lifecycle.transitions import FailureCode, FailureSource
from workspaces.services.launching.fail import FailureReason, fail

PEM = "-----BEGIN KEY-----\nMIIEvgIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("key=sk-12345 ok", "sk-12345"),
        ("https://x/?k=a%2Fb%2Bc", "a/b+c"),
        ('{"k": "a\\"quoted\\" one"}', 'a"quoted" one'),
        ("log: MIIEvgIBADANBgkq", PEM),
        ("the pin is 12 today", "12"),
    ],
)
def test_a_value_is_masked_in_each_form_in_which_programs_print_it(text, value):
    masked = Masker([value]).mask(text)
    assert MASK in masked
    assert value not in masked


def test_a_short_value_is_left_where_it_is_part_of_a_word():
    assert Masker(["x"]).mask("examine x") == f"examine {MASK}"


def test_the_longer_of_two_values_is_masked_first():
    assert Masker(["abcd", "abcdefgh"]).mask("abcdefgh") == MASK


def test_a_tail_is_cut_on_a_character():
    tail = last_bytes("ä" * LOG_TAIL_BYTES)
    assert len(tail.encode()) <= LOG_TAIL_BYTES
    assert set(tail) == {"ä"}


@pytest.mark.django_db
def test_a_secret_in_a_log_reaches_neither_row_nor_event():
    secrets.put_secrets({"GLOBAL_KEY": "global-secret-value"}, workspace_id=None)
    workspace = booting(secrets={"OWN_KEY": "own-secret-value", "PEM": PEM})
    token = mint_agent_token(workspace)
    poison = f"own-secret-value global-secret-value\0 {PEM} Bearer {token} x{token}y"
    reason = FailureReason(
        code=FailureCode.CRASHED, source=FailureSource.AGENT, message=f"It said {poison}", log_tail=poison
    )
    fail(workspace_id=workspace.pk, launch_id=workspace.launch_id, reason=reason, now=workspace.created_at)
    workspace.refresh_from_db()
    stored = workspace.failure_message + workspace.failure_log_tail
    told = json.dumps(Event.objects.filter(workspace_id=workspace.pk).latest("id").payload)
    for text in (stored, told):
        for secret in ("own-secret-value", "global-secret-value", "MIIEvgIBADANBgkq", token, "\0"):
            assert secret not in text
        assert "Bearer" in text


@pytest.mark.django_db
def test_secrets_of_other_workspaces_are_not_used_for_masking():
    booting(secrets={"OWN_KEY": "own-secret-value"})
    assert masker_of(booting().pk).mask("own-secret-value") == "own-secret-value"
