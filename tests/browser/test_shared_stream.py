"""One stream for all tabs of a browser, also after an interruption: through a proxy that counts and cuts streams."""

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from playwright.sync_api import expect

from events.models import Event
from postgres.clock import database_now
from tests.browser.desk import Desk
from tests.cut_proxy import cut_proxy
from tests.waiting import wait_until
from tests.workspaces import factories
from workspaces.services.launching.resume import resume
from workspaces.services.stopping.pause import pause

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

_LIST = "/admin/workspaces/workspace/"


@pytest.fixture
def proxy(stack):
    with cut_proxy(to_port=stack.port) as proxy:
        yield proxy


@pytest.fixture(params=["shared worker", "leading tab"])
def desk(request, page, proxy):
    """An operator behind the proxy, in a browser with shared workers or without."""
    if request.param == "leading tab":
        page.context.add_init_script("delete window.SharedWorker")
    User.objects.create_superuser("operator", password=Desk.PASSWORD)
    desk = Desk(page, port=proxy.port)
    desk.without_polling()
    desk.sign_in("operator")
    return desk


def another(desk):
    tab = Desk(desk.page.context.new_page(), port=int(desk.base.rpartition(":")[2]))
    tab.open_list()
    return tab


def test_eight_tabs_share_one_stream_and_are_all_updated(desk, proxy):
    booting = factories.booting()
    desk.open_list()
    tabs = [desk, *(another(desk) for _ in range(7))]
    wait_until(lambda: proxy.streams == 1)

    factories.bring_online(booting)

    for tab in tabs:
        expect(tab.status(booting)).to_have_text("Online")
    assert proxy.streams == 1


def test_the_other_tabs_are_updated_after_the_first_one_closes(desk, proxy):
    booting = factories.booting()
    desk.open_list()
    second, third = another(desk), another(desk)
    wait_until(lambda: proxy.streams == 1)

    desk.page.close()
    factories.bring_online(booting)

    for tab in (second, third):
        expect(tab.status(booting)).to_have_text("Online")
    wait_until(lambda: proxy.streams == 1)


def test_a_tab_that_was_cut_off_during_five_hundred_events_is_updated(desk, proxy):
    fleet = [factories.online(name=f"number {number}") for number in range(5)]
    desk.open_list()
    desk.mark()
    before = Event.objects.count()

    proxy.cut()
    while Event.objects.count() < before + 500:
        _pause_and_resume(fleet[0])
    pause(workspace_id=fleet[1].pk, now=database_now())
    expect(desk.page.locator("#live-text")).to_have_text("Reconnecting…")
    wait_until(lambda: proxy.refused > 0)
    # Nothing arrived meanwhile.
    for workspace in fleet:
        assert desk.status(workspace).inner_text() == "Online"
    proxy.restore()

    expect(desk.status(fleet[1])).to_have_text("Paused")
    expect(desk.status(fleet[0])).to_have_text("Provisioning")
    expect(desk.status(fleet[2])).to_have_text("Online")
    assert not desk.was_reloaded()


def _pause_and_resume(workspace):
    with transaction.atomic():
        for _ in range(25):
            pause(workspace_id=workspace.pk, now=database_now())
            resume(workspace_id=workspace.pk, now=database_now())


def test_the_list_shows_a_published_boot_step(desk, stack):
    booting = factories.booting()
    desk.open_list()

    desk.await_step(booting, place=desk.row(booting))


def test_a_user_who_may_see_workspaces_but_no_events_polls(stack, page):
    user = User.objects.create_user("watcher", password=Desk.PASSWORD, is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_workspace"))
    desk = Desk(page, port=stack.port)
    desk.sign_in("watcher")
    booting = factories.booting()
    page.goto(f"{desk.base}{_LIST}")
    expect(page.locator("#live-text")).to_contain_text("updating every 5 seconds")

    factories.bring_online(booting)

    expect(desk.status(booting)).to_have_text("Online")
