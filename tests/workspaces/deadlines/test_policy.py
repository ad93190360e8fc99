"""The deadline policy, as a table and by its properties."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspaces.deadlines.policy import (
    BOOT_LIMITS,
    DEFAULT_BOOT_LIMIT,
    LimitSource,
    Policy,
    boot_limit,
    deadline_in_force,
    effective_deadline,
    launching_limit,
    phase_limit,
    start_retry_seconds,
    stored_deadline,
    watcher_deadline,
)
from workspaces.lifecycle.transitions import Phase
from workspaces.models import Workspace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
seconds = st.one_of(st.none(), st.integers(1, 100_000))


@pytest.mark.parametrize(
    ("runtime", "workspace", "template", "override", "expected", "source"),
    [
        ("echo", None, None, None, 600, LimitSource.DEFAULT),
        ("hermes", None, None, None, 1800, LimitSource.RUNTIME),
        ("hermes", None, 720, None, 1800, LimitSource.RUNTIME),
        ("hermes", None, 1800, None, 1800, LimitSource.RUNTIME),
        ("hermes", None, 2700, None, 2700, LimitSource.TEMPLATE),
        ("echo", None, 300, None, 300, LimitSource.TEMPLATE),
        ("hermes", 200, 300, None, 200, LimitSource.WORKSPACE),
        ("hermes", 200, 300, 60, 60, LimitSource.OVERRIDE),
        ("echo", None, None, 3600, 3600, LimitSource.OVERRIDE),
    ],
)
def test_the_limit_comes_from_the_strongest_source(runtime, workspace, template, override, expected, source):
    policy = Policy(override_seconds=override)
    limit = boot_limit(runtime=runtime, workspace_seconds=workspace, template_seconds=template, policy=policy)
    assert (limit.seconds, limit.source) == (expected, source)


@pytest.mark.parametrize(
    ("overrides", "expected"), [(False, (1800, LimitSource.RUNTIME)), (True, (720, LimitSource.TEMPLATE))]
)
def test_a_templates_limit_below_its_runtimes_counts_only_if_it_says_so(overrides, expected):
    workspace = Workspace(runtime="hermes", template_timeout_seconds=720, template_timeout_override=overrides)
    limit = phase_limit(workspace, phase=Phase.BOOTING, policy=Policy())
    assert (limit.seconds, limit.source) == expected


@pytest.mark.parametrize("limit", [DEFAULT_BOOT_LIMIT, *BOOT_LIMITS.values()])
def test_the_watchers_limit_is_shorter_than_the_sweeps_by_at_most_a_fifth(limit):
    assert 0 < limit.slack_seconds <= limit.sweep_seconds / 5
    assert limit.watcher_seconds < limit.sweep_seconds


@given(stall=seconds, own=seconds, progress=st.lists(st.integers(0, 200_000), min_size=1))
def test_new_steps_never_move_the_deadline_back_nor_past_the_hard_limit(stall, own, progress):
    workspace = Workspace(runtime="echo", stall_timeout_seconds=stall, provision_timeout_seconds=own)
    deadlines = [
        stored_deadline(workspace, phase=Phase.BOOTING, entered_at=NOON, progress_at=NOON + timedelta(seconds=at))
        for at in sorted(progress)
    ]
    assert deadlines == sorted(deadlines)
    assert all(deadline <= NOON + timedelta(seconds=own or 600) for deadline in deadlines)


@given(override=seconds, own=seconds, stall=seconds)
def test_the_override_counts_from_the_phase_and_lifting_it_restores_the_stored_deadline(override, own, stall):
    workspace = Workspace(
        runtime="echo",
        phase=Phase.BOOTING,
        phase_entered_at=NOON,
        provision_timeout_seconds=own,
        stall_timeout_seconds=stall,
    )
    workspace.deadline_at = stored_deadline(workspace, phase=Phase.BOOTING, entered_at=NOON, progress_at=NOON)
    in_force = effective_deadline(workspace, policy=Policy(override_seconds=override))
    expected = workspace.deadline_at if override is None else NOON + timedelta(seconds=override)
    assert in_force == expected
    if override is not None:
        deadline = deadline_in_force(workspace, policy=Policy(override_seconds=override))
        assert deadline is not None
        assert not deadline.is_stall


def test_a_workspace_that_waits_for_nothing_has_no_deadline():
    assert effective_deadline(Workspace(), policy=Policy(override_seconds=60)) is None


policies = st.builds(Policy, override_seconds=seconds)


@given(own=seconds, template=seconds, runtime=st.sampled_from(["hermes", "echo"]), policy=policies)
def test_every_inner_limit_is_shorter_than_its_outer_one(own, template, runtime, policy):
    workspace = Workspace(runtime=runtime, provision_timeout_seconds=own, template_timeout_seconds=template)
    for phase in (Phase.QUEUED, Phase.LAUNCHING, Phase.BOOTING):
        limit = phase_limit(workspace, phase=phase, policy=policy)
        assert 0 < limit.inner_seconds < limit.seconds
    assert launching_limit(policy=policy).inner_seconds < start_retry_seconds(policy=policy)
    assert start_retry_seconds(policy=policy) < launching_limit(policy=policy).seconds


@given(own=seconds, template=seconds, runtime=st.sampled_from(["hermes", "echo"]), policy=policies)
def test_slack_is_at_most_a_fifth_of_the_sweeps_limit(own, template, runtime, policy):
    limit = boot_limit(runtime=runtime, workspace_seconds=own, template_seconds=template, policy=policy)
    assert limit.seconds - limit.inner_seconds <= limit.seconds / 5 + 1e-6


@given(shorter=st.integers(1, 100_000), longer=st.integers(1, 100_000), runtime=st.sampled_from(["hermes", "echo"]))
def test_a_longer_limit_never_makes_an_earlier_deadline(shorter, longer, runtime):
    shorter, longer = sorted((shorter, longer))
    early, late = (
        stored_deadline(
            Workspace(runtime=runtime, provision_timeout_seconds=own),
            phase=Phase.BOOTING,
            entered_at=NOON,
            progress_at=NOON,
        )
        for own in (shorter, longer)
    )
    assert early <= late


@given(own=seconds, policy=policies)
def test_the_watchers_last_look_comes_before_the_hard_limit(own, policy):
    workspace = Workspace(runtime="hermes", phase=Phase.BOOTING, phase_entered_at=NOON, provision_timeout_seconds=own)
    workspace.deadline_at = stored_deadline(workspace, phase=Phase.BOOTING, entered_at=NOON, progress_at=NOON)
    last_look, hard = watcher_deadline(workspace, policy=policy), effective_deadline(workspace, policy=policy)
    assert last_look is not None
    assert hard is not None
    assert NOON < last_look < hard


@given(own=seconds, template=seconds, others=st.tuples(seconds, seconds), policy=policies)
def test_a_weaker_source_does_not_count_beside_a_stronger_one(own, template, others, policy):
    def limit(runtime, own, template):
        return boot_limit(runtime=runtime, workspace_seconds=own, template_seconds=template, policy=policy)

    if policy.override_seconds is not None:
        assert limit("hermes", own, template) == limit("echo", *others)
    elif own is not None:
        assert limit("hermes", own, template) == limit("echo", own, others[1])
    elif template is not None and template > 1800:
        assert limit("hermes", None, template) == limit("echo", None, template)


@given(own=seconds, template=seconds, runtime=st.sampled_from(["hermes", "echo"]), policy=policies)
def test_the_limit_in_force_is_that_of_the_source_that_it_names(own, template, runtime, policy):
    limit = boot_limit(runtime=runtime, workspace_seconds=own, template_seconds=template, policy=policy)
    said = {
        LimitSource.OVERRIDE: policy.override_seconds,
        LimitSource.WORKSPACE: own,
        LimitSource.TEMPLATE: template,
        LimitSource.RUNTIME: 1800 if runtime == "hermes" else None,
        LimitSource.DEFAULT: 600,
    }
    assert limit.seconds == said[limit.source]
    if runtime == "hermes" and template is not None and template <= 1800:
        said[LimitSource.TEMPLATE] = None
    # No stronger source is set.
    assert all(said[source] is None for source in list(LimitSource)[: list(LimitSource).index(limit.source)])


@given(
    begun_with=seconds,
    stall=seconds,
    policy=policies,
    reports=st.lists(st.tuples(st.integers(0, 200_000), seconds), min_size=1),
)
def test_no_step_and_no_edit_moves_the_deadline_in_force_back_within_a_boot(begun_with, stall, policy, reports):
    workspace = Workspace(
        runtime="hermes",
        phase=Phase.BOOTING,
        phase_entered_at=NOON,
        launch_timeout_seconds=begun_with or 0,
        stall_timeout_seconds=stall,
    )
    hard = NOON + timedelta(seconds=begun_with or 1800)
    told = []
    for at, edited in sorted(reports, key=lambda report: report[0]):
        workspace.provision_timeout_seconds = edited
        workspace.deadline_at = stored_deadline(
            workspace, phase=Phase.BOOTING, entered_at=NOON, progress_at=NOON + timedelta(seconds=at)
        )
        told.append(effective_deadline(workspace, policy=policy))
    assert told == sorted(told)
    if policy.override_seconds is None:
        assert told[-1] <= hard
    else:
        assert set(told) == {NOON + timedelta(seconds=policy.override_seconds)}
