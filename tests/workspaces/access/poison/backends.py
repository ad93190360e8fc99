"""Boots and backends that fail and repeat secrets in errors and logs."""

import logging
from contextlib import contextmanager

from django.db import DatabaseError

from config.log_format import FieldsFormatter
from postgres.clock import database_now
from tests.workspaces.access.poison.markers import POISON, TEXTS
from tests.workspaces.access.poison.world import poisoned
from tests.workspaces.factories import booting, later, online, queued, running_on
from workspaces.access import secrets
from workspaces.configuration import preflight as preflight_module
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.configuration.preflight import PreflightFailed, Report
from workspaces.deadlines.policy import Policy
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import Launch
from workspaces.operations import pause, remove
from workspaces.provisioners.base import ProvisionerError
from workspaces.services.core.secret_changes import set_secrets
from workspaces.services.launching import launch as launch_service
from workspaces.services.stopping.teardown import tear_down
from workspaces.services.watching.crash_recovery import restart_crashed
from workspaces.services.watching.last_look import take_last_looks
from workspaces.services.watching.sweep import sweep_stuck
from workspaces.services.watching.watch import watch_boots, watch_online


def boots_fail(world, monkeypatch):
    """Launches fail before, in and after the call of their backend."""

    report = Report(warnings=[Diagnostic(code="unknown_key", message=POISON, path=POISON, hint=POISON)])

    def refuse(workspace):
        raise PreflightFailed(FailureCode.BAD_CONFIG, POISON, report=Report(), missing=[], source=None)

    with monkeypatch.context() as patched:
        patched.setattr(launch_service, "preflight", refuse)
        launch(poisoned(queued))
    for error in (ProvisionerError(POISON), RuntimeError(POISON)):
        with failing(world.fake, "start", error), monkeypatch.context() as patched:
            patched.setattr(preflight_module, "examine", lambda checked, **asked: report)
            launch(poisoned(queued))
    stuck = poisoned(booting)
    world.fake.append_log(running_on(world.fake, stuck), f"SLIPWAY-BOOTSTRAP-FAILED: {TEXTS[1]}\n{POISON}\n")
    world.answered(world.admin.get(f"/workspaces/{stuck.pk}/console"))
    world.answered(world.admin.get(f"/workspaces/{stuck.pk}/logs"))
    watch_boots(clock=database_now)
    ended = poisoned(booting)
    world.fake.simulate_exit(running_on(world.fake, ended), exit_code=1, log_tail=POISON)
    watch_boots(clock=database_now)
    late = poisoned(booting)
    world.fake.append_log(running_on(world.fake, late), POISON)
    take_last_looks(clock=lambda: later(late, minutes=9), policy=Policy())
    unseen = poisoned(booting)
    running_on(world.fake, unseen)
    with failing(world.fake, "inspect", ProvisionerError(POISON)):
        take_last_looks(clock=lambda: later(unseen, minutes=9), policy=Policy())
    sweep_stuck(now=later(late, minutes=11), policy=Policy())


def backends_fail(world, monkeypatch):
    """Backends fail, and processes end, after a launch."""
    for error in (ProvisionerError(POISON), RuntimeError(POISON)):
        up = poisoned(online)
        running_on(world.fake, up)
        with failing(world.fake, "inspect", error):
            watch_online(clock=database_now)
            world.answered(world.admin.get(f"/workspaces/{up.pk}/console"))
            world.answered(world.admin.get(f"/workspaces/{up.pk}/logs"))
        pause(up.pk)
        with failing(world.fake, "stop", error):
            tear_down(launch_id=up.launch_id, now=database_now())
        assert Launch.objects.get(pk=up.launch_id).teardown_error
        gone = poisoned(online)
        running_on(world.fake, gone)
        remove(gone.pk)
        with failing(world.fake, "stop", error):
            tear_down(launch_id=gone.launch_id, now=database_now())
    # What was replaced while it was stopped is in the log of its last launch.
    stopped = poisoned(online)
    world.fake.append_log(running_on(world.fake, stopped), POISON)
    pause(stopped.pk)
    tear_down(launch_id=stopped.launch_id, now=database_now())
    set_secrets({"OWN": "another value"}, workspace_id=stopped.pk, by="root")
    secrets.delete_unused_retired_secrets()
    crashed = poisoned(online)
    world.fake.simulate_exit(running_on(world.fake, crashed), exit_code=1, log_tail=POISON)
    watch_online(clock=database_now)
    crashed.refresh_from_db()
    restart_crashed(now=crashed.restart_due_at)


def the_log_can_not_read(world, monkeypatch):
    """Something logs a token in a message, which should be constant, while the log can't read the secrets."""

    def away(line):
        raise DatabaseError

    with monkeypatch.context() as patched:
        patched.setattr(FieldsFormatter, "mask", away)
        logging.getLogger("workspaces").error(f"no access with {world.forgotten[0]}")


@contextmanager
def failing(fake, call, error):
    """Let each of these calls of the backend raise."""

    def before(name, key):
        if name == call:
            raise error

    fake.before_call = before
    try:
        yield
    finally:
        fake.before_call = lambda name, key: None


def launch(workspace):
    launch_service.launch(workspace_id=workspace.pk, launch_id=workspace.launch_id, clock=database_now)
