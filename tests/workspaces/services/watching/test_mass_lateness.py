"""Launches that are late together are held, with one incident; evidence and operators override the hold."""

import threading
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from events.models import Event
from events.names import EventType
from postgres.clock import database_now
from tests.callers import holder
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import booting, bring_online, config_for, later, launching, queued, running_on
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import ApiScope, Workspace
from workspaces.models.incidents import Incident
from workspaces.services.launching.progress import record_progress
from workspaces.services.watching.mass_lateness import UnknownIncident, is_mass_lateness, release
from workspaces.services.watching.sweep import preview_sweep, sweep_stuck
from workspaces.services.watching.watch import watch_boots

pytestmark = pytest.mark.django_db
NO_OVERRIDE = Policy()


def fleet(number, *, now=None, runtime="echo", **fields):
    return [booting(config=config_for(runtime), runtime="", now=now, **fields) for _ in range(number)]


def sweep(now, *, policy=NO_OVERRIDE):
    return sweep_stuck(now=now, policy=policy)


def events_of(event_type):
    return list(Event.objects.filter(event_type=event_type).order_by("id"))


@pytest.mark.parametrize(
    ("late", "booting", "expected"),
    [(4, 4, False), (5, 5, True), (5, 9, True), (5, 10, False), (6, 10, True), (50, 100, False), (51, 100, True)],
)
def test_mass_lateness_is_at_least_five_late_and_more_than_half(late, booting, expected):
    assert is_mass_lateness(late=late, booting=booting) == expected


def test_five_late_together_are_held_with_one_incident():
    late = fleet(5)
    now = later(late[-1], minutes=11)
    for minute in range(3):
        report = sweep(now + timedelta(minutes=minute))
        assert (report.failed, report.held) == ([], 5)
    opened = events_of(EventType.INCIDENT_OPENED)
    assert len(opened) == 1
    payload = opened[0].payload
    assert (payload["kind"], payload["scope"], payload["count"]) == ("mass_lateness", "runtime:echo", 5)
    assert "suspected" in payload["message"] or "suggests" in payload["message"]
    assert (opened[0].workspace_id, opened[0].version) == (None, None)


def test_four_late_together_are_failed():
    late = fleet(4)
    assert len(sweep(later(late[-1], minutes=11)).failed) == 4
    assert Incident.objects.count() == 0


def test_late_launches_among_as_many_healthy_ones_are_failed():
    late = fleet(5)
    now = later(late[-1], minutes=11)
    fleet(5, now=now - timedelta(minutes=1))
    assert len(sweep(now).failed) == 5


def test_a_late_launch_of_another_runtime_is_failed_while_the_first_is_held():
    late = fleet(5, runtime="claude-code")
    now = later(late[-1], minutes=11)
    alone = booting(now=now - timedelta(minutes=11), provision_timeout_seconds=60)
    fleet(6, now=now)
    sweep(now)
    held = set(Workspace.objects.filter(held_since__isnull=False).values_list("pk", flat=True))
    alone.refresh_from_db()
    assert held == {row.pk for row in late}
    assert alone.status == WorkspaceStatus.FAILED


def test_late_launches_of_several_runtimes_on_one_backend_are_one_incident():
    late = fleet(3, runtime="claude-code") + fleet(3, runtime="echo")
    assert sweep(later(late[-1], minutes=11)).held == 6
    assert [incident.scope for incident in Incident.objects.all()] == ["backend:process"]


def test_only_booting_launches_are_held():
    waiting = [queued() for _ in range(6)] + [launching() for _ in range(6)]
    assert len(sweep(later(waiting[-1], minutes=11)).failed) == 12


def test_failures_by_evidence_are_never_held(fake):
    late = fleet(6)
    now = later(late[-1], minutes=11)
    sweep(now)
    fake.simulate_exit(running_on(fake, late[0]), exit_code=1)
    for row in late[1:]:
        running_on(fake, row)
    watch_boots(clock=lambda: now)
    late[0].refresh_from_db()
    assert (late[0].status, late[0].failure_code, late[0].held_since) == ("failed", "crashed", None)


def test_launches_are_released_once_the_cause_is_gone_and_those_still_late_fail():
    late = fleet(20)
    now = later(late[-1], minutes=11)
    assert sweep(now).held == 20
    for row in late[:18]:
        bring_online(row, now=now)
    report = sweep(now + timedelta(seconds=30))
    assert (len(report.failed), report.held) == (2, 0)
    assert len(events_of(EventType.INCIDENT_OPENED)) == len(events_of(EventType.INCIDENT_RESOLVED)) == 1
    assert Incident.objects.get().resolved_at == now + timedelta(seconds=30)


def test_new_launches_do_not_hide_the_cause():
    late = fleet(6)
    now = later(late[-1], minutes=11)
    sweep(now)
    fleet(10, now=now + timedelta(seconds=10))
    assert sweep(now + timedelta(seconds=30)).held == 6


def test_a_hold_ends_after_fifteen_minutes():
    late = fleet(6)
    now = later(late[-1], minutes=11)
    sweep(now)
    assert sweep(now + timedelta(minutes=14.9)).held == 6
    assert len(sweep(now + timedelta(minutes=15)).failed) == 6
    sweep(now + timedelta(minutes=15.5))
    incident = Incident.objects.get()
    assert (incident.let_go_by, incident.resolved_at) == ("the longest hold", now + timedelta(minutes=15.5))


def test_a_held_launch_that_registers_is_online():
    late = fleet(5)
    now = later(late[-1], minutes=11)
    sweep(now)
    bring_online(late[0], now=now)
    late[0].refresh_from_db()
    assert (late[0].status, late[0].held_since) == (WorkspaceStatus.ONLINE, None)
    assert Event.objects.filter(workspace_id=late[0].pk).count() == 2


def test_a_held_launch_whose_new_step_moves_its_deadline_is_released():
    stall = "runtime_config: {stall_timeout_seconds: 60}\n"
    late = [booting(config=config_for("echo", stall), runtime="") for _ in range(6)]
    now = later(late[-1], minutes=1.5)
    assert sweep(now).held == 6
    record_progress(workspace_id=late[0].pk, launch_id=late[0].launch_id, step="install", now=now)
    assert sweep(now + timedelta(seconds=1)).held == 5


def test_an_operator_releases_launches_and_they_are_not_held_again():
    late = fleet(6)
    now = later(late[-1], minutes=11)
    sweep(now)
    release(incident_id=Incident.objects.get().pk, by="ann", now=now)
    assert len(sweep(now).failed) == 6
    assert Incident.objects.get().let_go_by == "ann"
    sweep(now + timedelta(seconds=30))
    fleet(6, now=now - timedelta(minutes=11))
    assert len(sweep(now + timedelta(minutes=1)).failed) == 6
    with pytest.raises(UnknownIncident):
        release(incident_id=Incident.objects.get().pk, by="ann", now=now)


def test_a_dry_run_leaves_out_launches_that_would_be_held():
    late = fleet(6)
    now = later(late[-1], minutes=11)
    assert preview_sweep(now=now, policy=NO_OVERRIDE).reasons == []
    assert Incident.objects.count() == 0
    sweep(now)
    assert preview_sweep(now=now, policy=NO_OVERRIDE).reasons == []


def test_the_override_counts_as_a_deadline_too():
    late = fleet(6)
    assert sweep(later(late[-1], minutes=2), policy=Policy(override_seconds=60)).held == 6


def test_the_api_and_the_admin_show_that_a_launch_is_held(admin_client):
    late = fleet(6)
    sweep(later(late[-1], minutes=11))
    assert holder(ApiScope.READ).get(f"/workspaces/{late[0].pk}").json()["held"] is True
    assert "Held since" in admin_client.get(f"/admin/workspaces/workspace/{late[0].pk}/change/").content.decode()
    assert "held" in admin_client.get("/admin/workspaces/workspace/").content.decode()
    assert "Mass lateness" in admin_client.get("/admin/").content.decode()


def test_an_operator_releases_launches_in_the_admin(admin_client):
    late = fleet(6)
    sweep(later(late[-1], minutes=11))
    incident = Incident.objects.get()
    assert "runtime:echo" in admin_client.get("/admin/workspaces/incident/").content.decode()
    address = f"/admin/workspaces/incident/{incident.pk}/let-go/"
    assert b"Release the held launches?" in admin_client.get(address).content
    admin_client.post(address)
    incident.refresh_from_db()
    assert incident.let_go_by == "admin"


def test_a_reader_of_incidents_may_not_release(client, django_user_model):
    from django.contrib.auth.models import Permission

    late = fleet(6)
    sweep(later(late[-1], minutes=11))
    reader = django_user_model.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(reader)
    address = f"/admin/workspaces/incident/{Incident.objects.get().pk}/let-go/"
    assert client.post(address).status_code == 403
    assert Incident.objects.get().let_go_at is None


def test_the_command_lists_incidents_and_releases_launches(capsys):
    call_command("incidents")
    assert capsys.readouterr().out == "0 incidents are open.\n"
    late = fleet(6)
    sweep(later(late[-1], minutes=11))
    incident = Incident.objects.get()
    call_command("incidents")
    assert f"{incident.pk} mass_lateness runtime:echo" in capsys.readouterr().out
    call_command("incidents", let_go=incident.pk)
    assert "6 launches" in capsys.readouterr().out
    assert Workspace.objects.filter(held_since__isnull=False).count() == 0
    with pytest.raises(CommandError, match="holds no launches"):
        call_command("incidents", let_go=incident.pk)


@pytest.mark.parametrize(
    ("scope", "kind", "name"),
    [("runtime:hermes", "runtime", "hermes"), ("runtime:a:b", "runtime", "a:b"), ("web", "web", ""), (":", "", "")],
)
def test_the_kind_and_the_name_of_a_scope_are_columns(scope, kind, name):
    incident = Incident.objects.create(
        kind="mass_lateness", scope=scope, opened_at=database_now(), count=1, message="x"
    )
    assert (incident.scope_kind, incident.scope_name) == (kind, name)
    assert Incident.objects.get(scope_kind=kind, scope_name=name) == incident


@pytest.mark.django_db(transaction=True)
def test_concurrent_sweeps_open_one_incident():
    late = fleet(6)
    now, barrier = later(late[-1], minutes=11), threading.Barrier(4)

    def run():
        barrier.wait(timeout=PATIENCE_SECONDS)
        sweep(now)
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=PATIENCE_SECONDS)
    assert len(events_of(EventType.INCIDENT_OPENED)) == Incident.objects.count() == 1
    assert Workspace.objects.filter(status=WorkspaceStatus.PROVISIONING, held_since__isnull=False).count() == 6
    assert database_now() > late[0].created_at
