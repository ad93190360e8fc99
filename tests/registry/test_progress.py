"""Boot steps and what agents say of them: stored, shown, masked and bounded."""

import pytest

from events.masking.masker import MASK
from tests.callers import AgentCaller, holder
from tests.workspaces.factories import booting, online
from workspaces.access.secrets import put_secrets
from workspaces.models import ApiScope, Launch, Workspace
from workspaces.operations import restart
from workspaces.overview import Overview

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent():
    return AgentCaller(booting())


def shown(agent):
    workspace = holder(ApiScope.READ).get(f"/workspaces/{agent.workspace.pk}").json()
    return workspace["progress_step"], workspace["progress_detail"]


def last_step(agent):
    step = holder(ApiScope.READ).get(f"/launches/{agent.workspace.launch_id}").json()["last_step"]
    return step and (step["step"], step["detail"])


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([("install", "3 of 9")], ("install", "3 of 9")),
        ([("install", None)], ("install", "")),
        ([("install", "3 of 9"), ("install", "4 of 9")], ("install", "4 of 9")),
        ([("install", "3 of 9"), ("install", None)], ("install", "3 of 9")),
        ([("install", "3 of 9"), ("install", "")], ("install", "3 of 9")),
        ([("install", "3 of 9"), ("start", None)], ("start", "")),
        ([("install", "3 of 9"), ("start", "soon")], ("start", "soon")),
        ([(None, "3 of 9")], ("unnamed step", "3 of 9")),
    ],
)
def test_a_detail_is_shown_with_its_step_by_the_workspace_and_its_launch(agent, reports, expected):
    assert last_step(agent) is None
    for step, detail in reports:
        assert agent.progress(step=step, detail=detail).json()["status"] == "ok"
    assert shown(agent) == last_step(agent) == expected
    workspace = Workspace.objects.get(pk=agent.workspace.pk)
    assert Overview(workspace=workspace).phase == " · ".join(filter(None, ("booting", *expected)))


@pytest.mark.parametrize(
    ("detail", "stored"),
    [
        ("x" * 500_000, "x" * 1000),
        ("two\nlines", "two lines"),
        ("\x1b[2J40 %\x07\0", "40 %"),
        ("\u202eexe.txt", "exe.txt"),
        (" \u200b ", ""),
        ("half \ud800", "half ?"),
        ("<b>bold</b>", "<b>bold</b>"),
    ],
    ids=ascii,
)
def test_a_detail_is_mended_to_one_line_and_cut(agent, detail, stored):
    assert agent.progress(detail=detail).status_code == 200
    assert shown(agent) == ("install", stored)


@pytest.mark.parametrize("detail", [5, ["a"], {"a": "b"}, True])
def test_a_detail_that_is_no_text_is_left_out_and_the_step_counts(agent, detail):
    assert list(agent.progress(detail=detail).json()["ignored"]) == ["detail"]
    assert shown(agent) == ("install", "")


def test_a_secret_in_a_detail_is_masked(agent):
    put_secrets({"KEY": "hunter2-hunter2"}, workspace_id=agent.workspace.pk)
    agent.progress(detail="logs in with hunter2-hunter2")
    assert shown(agent) == last_step(agent) == ("install", f"logs in with {MASK}")


def test_another_detail_does_not_move_the_stall_limit(agent):
    agent.progress(detail="1 %")
    before = Workspace.objects.values("progress_at", "deadline_at", "version").get(pk=agent.workspace.pk)
    at = Launch.objects.get(pk=agent.workspace.launch_id).last_step_at
    assert at == before["progress_at"]
    agent.progress(detail="2 %")
    assert shown(agent) == ("install", "2 %")
    assert Workspace.objects.values("progress_at", "deadline_at", "version").get(pk=agent.workspace.pk) == before
    assert Launch.objects.get(pk=agent.workspace.launch_id).last_step_at == at


def test_a_detail_that_comes_after_the_boot_changes_nothing():
    agent = AgentCaller(online())
    assert agent.progress(detail="1 %").status_code == 200
    assert (shown(agent), last_step(agent)) == (("", ""), None)


def test_the_next_launch_begins_without_a_step_and_the_history_keeps_the_last_one(agent):
    agent.progress(detail="1 %")
    restarted = AgentCaller(restart(agent.workspace.pk).workspace)
    assert (shown(restarted), last_step(restarted), last_step(agent)) == (("", ""), None, ("install", "1 %"))
