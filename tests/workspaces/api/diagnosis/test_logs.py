"""GET /workspaces/{id}/logs: the whole log, plain and masked."""

import uuid

import pytest

from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, external, failed, running_on
from workspaces.access.masking import masker_of_log
from workspaces.access.secrets import put_secrets
from workspaces.api.diagnosis.logs import PART_BYTES, LogStream, read_part, why_over
from workspaces.models import ApiScope, Workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def workspace(fake):
    workspace = booting()
    workspace.key = running_on(fake, workspace)
    return workspace


def log_of(workspace, caller=None, **query):
    answer = (caller or holder(ApiScope.READ)).get(f"/workspaces/{workspace.pk}/logs", **query)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    return answer.content.decode()


def followed(workspace, *, offset=0):
    """Return the texts that a reader gets who begins at an offset."""
    texts = []
    while (part := read_part(workspace, workspace.launch_id, offset=offset)).offset != offset:
        texts.append(part.text)
        offset = part.offset
    return texts


def test_the_whole_log_is_plain_text_as_a_terminal_shows_it(workspace, fake):
    lines = "".join(f"line {number}\n" for number in range(9000))
    fake.append_log(workspace.key, f"{lines}1 %\r100 %\n\x1b[31mready\x1b[0m and not finished")
    assert log_of(workspace) == f"{lines}100 %\nready and not finished"


def test_secrets_are_masked_also_where_a_line_overwrites_itself_and_over_several_lines(workspace, fake):
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqh\nkiG9w0BAQEFAASCB\n-----END KEY-----"
    put_secrets({"TOKEN": "hunter2-hunter2", "PEM": key}, workspace_id=workspace.pk)
    fake.append_log(workspace.key, f"log in with hunter2-hunter2\nhunter2-xxxx\rhunter2-hunter2\n{key}\nhealthy\n")
    text = log_of(workspace)
    assert text.endswith("healthy\n")
    for secret in ("hunter2-hunter2", "MIIEvQIBADANBgkqh", "kiG9w0BAQEFAASCB"):
        assert secret not in text


def test_no_offset_shows_a_part_of_a_secret(workspace, fake):
    put_secrets({"TOKEN": "hunter2-hunter2"}, workspace_id=workspace.pk)
    text = "first\nwith hunter2-hunter2 inside\nlast\n"
    fake.append_log(workspace.key, text)
    for offset in range(len(text) + 1):
        shown = "".join(followed(workspace, offset=offset))
        assert "hun" not in shown
        assert "nter2" not in shown
        assert shown in "first\nwith •••••• inside\nlast\n"


def test_a_line_waits_for_its_end(workspace, fake):
    fake.append_log(workspace.key, "whole\nhal")
    assert followed(workspace) == ["whole\n"]
    fake.append_log(workspace.key, "f\n")
    assert followed(workspace, offset=len("whole\n")) == ["half\n"]


def test_a_line_that_is_too_long_is_cut_and_the_next_one_is_shown(workspace, fake, monkeypatch):
    monkeypatch.setattr("workspaces.api.diagnosis.logs.PART_BYTES", 100)
    fake.append_log(workspace.key, f"{'x' * 1050}\nnext\n")
    assert "".join(followed(workspace)) == f"{'x' * 100}next\n"
    assert PART_BYTES > 100


def test_a_log_that_grows_while_it_is_read_ends_near_where_it_ended_and_its_secrets_are_read_once(
    workspace, fake, monkeypatch
):
    lines = "".join(f"line {number}\n" for number in range(200))
    fake.append_log(workspace.key, lines)
    reads, maskers = iter(range(500)), []

    def write(call, key):
        if call == "read_log" and next(reads, None) is not None:
            fake.append_log(key, "more\n" * 20)

    fake.before_call = write
    monkeypatch.setattr("workspaces.api.diagnosis.logs.PART_BYTES", 200)
    monkeypatch.setattr(
        "workspaces.api.diagnosis.logs.masker_of_log", lambda pk: maskers.append(pk) or masker_of_log(pk)
    )
    text = log_of(workspace)
    assert text.startswith(f"{lines}more\n")
    assert len(text) < len(lines) + 400
    assert maskers == [workspace.pk]


def test_bytes_that_are_no_text_and_an_offset_ahead_of_the_log_are_no_error(workspace, fake):
    fake.append_log(workspace.key, "a\0b é\ud800\n")
    assert log_of(workspace) == "ab é?\n"
    assert followed(workspace, offset=10**17) == [""]


def test_what_a_failure_kept_is_shown_when_its_backend_has_no_log(fake):
    assert log_of(failed()) == "last words"
    assert log_of(external()) == ""


def test_a_backend_that_can_not_be_asked_is_no_error(workspace, fake):
    fake.append_log(workspace.key, "line\n")
    fake.unreachable = True
    assert log_of(workspace) == ""


def test_it_says_why_nothing_more_will_come(workspace, fake):
    def why(stream=LogStream.AGENT, launch_id=workspace.launch_id):
        return why_over(Workspace.objects.get(pk=workspace.pk), launch_id, stream=stream)

    assert why() == why(LogStream.BOOT) == ""
    assert why(launch_id=uuid.uuid4()) == "Another launch has begun."
    AgentCaller(workspace).register()
    assert why() == ""
    assert "online" in why(LogStream.BOOT)
    fake.simulate_exit(workspace.key, exit_code=3)
    assert why() == "Its process exited with status 3."


def test_its_agent_reads_it_and_another_does_not(workspace, fake):
    fake.append_log(workspace.key, "mine\n")
    assert log_of(workspace, AgentCaller(workspace)) == "mine\n"
    assert AgentCaller(booting()).get(f"/workspaces/{workspace.pk}/logs").status_code == 403
    assert holder(ApiScope.WATCH).get(f"/workspaces/{workspace.pk}/logs").status_code == 403


def test_wrong_parameters_are_named(workspace):
    reader = holder(ApiScope.READ)
    for name, value in (("stream", "x"), ("follow", "perhaps")):
        answer = reader.get(f"/workspaces/{workspace.pk}/logs", **{name: value})
        assert (answer.status_code, list(answer.json()["fields"])) == (422, [name])
    assert reader.get(f"/workspaces/{uuid.uuid4()}/logs").status_code == 404
    refused = reader.get(f"/workspaces/{workspace.pk}/logs", follow="true")
    assert (refused.status_code, refused.json()["code"]) == (501, "needs_asgi")
