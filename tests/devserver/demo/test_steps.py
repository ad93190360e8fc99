"""The demo launches its fleet, reports what changes, and ends when every expectation is met or its time is up."""

import io
from dataclasses import replace

import pytest

from devserver.console import Console
from devserver.demo import fleet, steps
from devserver.demo.steps import Demo
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Workspace

pytestmark = pytest.mark.django_db


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(steps.time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def demo(clock, screen, monkeypatch):
    """A demo of three workspaces, without workers that would launch them."""
    monkeypatch.setattr("workspaces.tasks.enqueue_launches", lambda *_arguments, **_named: None)
    greeter, mirror = (next(group for group in fleet.GROUPS if group.name == name) for name in ("greeter", "mirror"))
    members = fleet.make_fleet(speed=60, seed=1, groups=[replace(greeter, count=2), replace(mirror, count=1)])
    demo = Demo(port=8010, speed=60, members=members, sign_in_seconds=20, console=Console(screen))
    demo.introduce()
    return demo


def launched():
    return sorted(Workspace.objects.values_list("name", flat=True))


def test_the_fleet_is_launched_after_the_time_to_log_in_and_late_members_later(demo, clock):
    _, launch, *_ = demo.steps()
    launch.action()
    assert launched() == []
    clock.now += 20
    launch.action()
    assert launched() == ["greeter-01", "greeter-02"]
    assert not launch.is_done()
    clock.now += 2
    launch.action()
    assert launched() == ["greeter-01", "greeter-02", "mirror"]
    assert launch.is_done()


def test_it_reports_statuses_when_they_change_and_ends_when_all_are_as_expected(demo, clock, screen):
    clock.now += 22
    demo.launch_due_members()
    demo.report_changes()
    assert "0:02  3 provisioning\n" in screen.getvalue()
    Workspace.objects.update(status=WorkspaceStatus.ONLINE, version=2, deadline_at=None)
    clock.now += 60 * fleet.LONGEST_LIMIT_MINUTES / 60 - 3
    demo.report_changes()
    assert "3 online\n" in screen.getvalue()
    assert not demo.is_over()
    clock.now += 3
    demo.report_changes()
    assert demo.is_over()


def test_it_ends_when_its_time_is_up_and_prints_what_was_expected_and_what_happened(demo, clock, screen):
    clock.now += 20
    demo.launch_due_members()
    assert not demo.is_over()
    clock.now += steps.LASTS_MINUTES + 1
    demo.report_changes()
    assert demo.is_over()
    demo.print_outcomes()
    rows = [line.split() for line in screen.getvalue().partition("What was expected")[2].splitlines()]
    assert ["greeter", "2", "healthy", "online", "2", "provisioning"] in rows
    assert [row[-3:] for row in rows if row[:1] == ["mirror"]] == [["1", "not", "created"]]
