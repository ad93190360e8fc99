"""Tracebacks in the server's log hold no secret, and say what they can."""

import logging
from uuid import uuid4

import pytest
from django.db import DatabaseError

from config.log_format import FieldsFormatter
from tests.workspaces.factories import online
from workspaces.access import log_masking
from workspaces.access.tokens import mint_agent_token

pytestmark = pytest.mark.django_db

VALUE = "hunter2-hunter2"


def broken(text):
    raise RuntimeError(text)


def line_of(text, **fields):
    """Return what is logged of an error with this text; another handler has formatted the record before."""
    logger, lines = logging.getLogger(str(uuid4())), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.extend((logging.Formatter().format(record), FieldsFormatter().format(record)))
    logger.addHandler(handler)
    try:
        broken(text)
    except RuntimeError:
        logger.exception("It broke", extra=fields)
    return lines[1]


@pytest.mark.parametrize("field", ["workspace_id", "launch_id", "path", "about"])
def test_secrets_of_the_workspace_that_a_line_names_are_masked_and_the_rest_stays(field):
    workspace = online(secrets={"KEY": VALUE})
    fields = {
        "workspace_id": workspace.pk,
        "launch_id": workspace.launch_id,
        "path": f"/workspaces/{workspace.pk}/restart",
        "about": f"LaunchKey({workspace.pk!r})",
    }
    line = line_of(f"no access with {VALUE} to /data", **{field: fields[field]})
    assert VALUE not in line
    assert "RuntimeError: no access with •••••• to /data" in line
    assert "in broken\n" in line


def test_a_credential_is_masked_in_a_line_that_names_no_workspace():
    token = mint_agent_token(online())
    line = line_of(f"refused {token} here")
    assert token not in line
    assert "RuntimeError: refused •••••• here" in line


@pytest.mark.parametrize("error", [DatabaseError("away"), RuntimeError("anything")])
def test_the_text_is_left_out_if_the_secrets_can_not_be_read(monkeypatch, error):
    def fail(ids):
        raise error

    monkeypatch.setattr(log_masking.secrets, "readable_values", fail)
    line = line_of(f"no access with {VALUE}", workspace_id=uuid4())
    assert VALUE not in line
    assert line.endswith("RuntimeError (its text is left out, since the secrets in it can't be masked now)")
    assert "in broken\n" in line
