"""The admin's pages are updated without a reload: in Chromium, with the real web server and relay."""

import re
import time

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from events.names import EphemeralEventType, EventType
from postgres.clock import database_now
from tests.callers import AgentCaller
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces import factories
from workspaces import operations
from workspaces.services.stopping.remove import remove

NAMES = [*EventType.values, *EphemeralEventType.values]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


def test_list_shows_a_status_change_without_a_reload(desk, record_property):
    booting, other = factories.booting(name="waking"), factories.online(name="steady")
    desk.open_list()
    expect(desk.status(booting)).to_have_text("Provisioning")
    desk.row(other).locator("input.action-select").check()
    desk.mark()

    began = time.monotonic()
    factories.bring_online(booting)
    expect(desk.status(booting)).to_have_text("Online")
    latency_ms = (time.monotonic() - began) * 1000

    print(f"status on the screen after {latency_ms:.0f} ms")
    record_property("latency_ms", round(latency_ms))
    assert not desk.was_reloaded()
    expect(desk.row(other).locator("input.action-select")).to_be_checked()
    assert desk.problems == []


def test_list_shows_new_workspaces_and_drops_removed_ones(desk):
    desk.open_list()
    expect(desk.page.get_by_text("No workspaces yet")).to_be_visible()
    desk.mark()

    first = factories.online(name="first")
    expect(desk.status(first)).to_have_text("Online")
    desk.row(first).locator("input.action-select").check()
    second = factories.failed(name="second")
    expect(desk.status(second)).to_have_text("Failed")
    expect(desk.row(first).locator("input.action-select")).to_be_checked()
    expect(desk.page.locator(".action-counter")).to_contain_text("1 of 2")
    remove(workspace_id=second.pk, confirmed=False, now=database_now())
    expect(desk.row(second)).to_have_count(0)

    assert not desk.was_reloaded()
    assert desk.problems == []


def test_page_of_a_workspace_follows_it_and_keeps_what_is_being_typed(desk):
    booting = factories.booting(name="waking")
    desk.open_workspace(booting)
    desk.page.fill("[name=role]", "half-typed")
    desk.mark()

    desk.await_step(booting, place=desk.page.locator("[data-live=state]"))
    factories.bring_online(booting)
    expect(desk.page.locator(".slipway-status").first).to_have_text("Online")
    expect(desk.page.get_by_text("WORKSPACE_ONLINE")).to_be_visible()

    assert desk.page.input_value("[name=role]") == "half-typed"
    assert not desk.was_reloaded()
    assert desk.problems == []


# A stream that the test writes to: the newest EventSource of the page, which connects to nothing.
_FAKE_STREAM = """
    delete window.SharedWorker;
    delete window.BroadcastChannel;
    window.EventSource = class {
        constructor() {
            window.fakeStream = this;
            setTimeout(() => this.onopen(), 0);
        }
        close() {}
    };
"""


@pytest.fixture
def fetches(desk):
    """Return a function that sends an event to the page and waits until the page has fetched itself again.

    It returns whether that happened, within this time.
    """
    desk.page.context.add_init_script(_FAKE_STREAM)

    def fetches(name, workspace, *, seconds=PATIENCE_SECONDS):
        event = {"event": name, "workspace_id": str(workspace.pk)}
        answers = []
        listen = lambda answer: answers.append(answer.request.resource_type)  # noqa: E731
        desk.page.on("response", listen)
        desk.page.evaluate("event => fakeStream.onmessage({data: JSON.stringify(event), lastEventId: ''})", event)
        end = time.monotonic() + seconds
        while "fetch" not in answers and time.monotonic() < end:
            desk.page.wait_for_timeout(20)
        desk.page.remove_listener("response", listen)
        return "fetch" in answers

    return fetches


@pytest.mark.parametrize("is_own_page", [False, True])
def test_every_event_refreshes_the_page_but_heartbeats_and_tasks_only_the_workspace_s_own(desk, fetches, is_own_page):
    workspace = factories.online()
    desk.open_workspace(workspace) if is_own_page else desk.open_list()

    only_own = set() if is_own_page else {"WORKSPACE_HEARTBEAT", "TASK_UPDATED"}
    for name in [*NAMES, "AN_EVENT_OF_A_LATER_RELEASE"]:
        if name in only_own:
            assert not fetches(name, workspace, seconds=0.6), name
        else:
            assert fetches(name, workspace), name


def test_deadline_ticks(desk):
    desk.open_list()
    booting = factories.booting()
    clock = desk.row(booting).locator("time[data-until]")
    expect(clock).to_contain_text(re.compile("in [1-9] min"))
    before = clock.inner_text()

    expect(clock).not_to_have_text(before)


def test_list_continues_after_the_web_server_was_away(desk, stack):
    booting = factories.booting()
    desk.open_list()

    stack.kill("web")
    expect(desk.page.locator("#live-text")).to_have_text("Reconnecting…")
    factories.bring_online(booting)
    stack.start("web")

    desk.expect_live()
    expect(desk.status(booting)).to_have_text("Online")


def test_a_fetch_that_fails_is_repeated(desk):
    booting = factories.booting()
    desk.open_list()
    failures = []

    def fail_once(route):
        if failures or route.request.resource_type != "fetch":
            route.continue_()
        else:
            failures.append(route)
            route.fulfill(status=500)

    desk.page.route("**/admin/workspaces/workspace/", fail_once)
    factories.bring_online(booting)

    expect(desk.status(booting)).to_have_text("Online")
    desk.expect_live()
    assert len(failures) == 1


def test_page_says_that_it_ended_when_its_session_did(desk):
    booting = factories.booting()
    desk.open_list()

    Session.objects.all().delete()
    factories.bring_online(booting)

    expect(desk.page.locator("#live-text")).to_contain_text("sign in again")


def test_the_actions_of_a_workspace_follow_its_status(desk):
    workspace = factories.online(name="steady")
    desk.open_workspace(workspace)
    action = lambda name: desk.page.locator("#header-inner").get_by_role("link", name=name)  # noqa: E731
    expect(action("Pause")).to_be_visible()
    expect(action("Resume")).to_have_count(0)
    desk.mark()

    operations.pause(workspace.pk)

    expect(desk.page.locator(".slipway-status").first).to_have_text("Paused")
    expect(action("Resume")).to_be_visible()
    expect(action("Pause")).to_have_count(0)
    expect(action("History")).to_be_visible()
    assert not desk.was_reloaded()
    assert desk.problems == []


def test_a_launch_that_has_failed_can_not_be_cancelled_any_more(desk):
    booting = factories.booting(name="stuck")
    desk.open_workspace(booting)
    cancel = desk.page.locator("#header-inner").get_by_role("link", name="Cancel launch")
    expect(cancel).to_be_visible()
    desk.mark()

    AgentCaller(booting).failed()

    expect(desk.page.locator(".slipway-status").first).to_have_text("Failed")
    expect(cancel).to_have_count(0)
    assert not desk.was_reloaded()
    assert desk.problems == []
