"""The admin's pages below a path of their own, as a proxy that keeps the prefix serves them: in Chromium."""

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from tests.browser.desk import Desk
from tests.journeys.stack import Stack
from tests.workspaces import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]


@pytest.fixture
def desk(browser, page, child_environment):
    """An operator, signed in below /slipway."""
    User.objects.create_superuser("operator", password=Desk.PASSWORD)
    stack = Stack(child_environment)
    stack.configure(PATH_PREFIX="/slipway")
    try:
        stack.start("web", "relay")
        desk = Desk(page, port=stack.port, prefix="/slipway")
        desk.without_polling()
        desk.sign_in("operator")
        yield desk
    finally:
        stack.stop()
        print(stack.output)


def test_every_request_of_the_live_pages_goes_below_the_prefix(desk):
    requests = []
    desk.page.context.on("request", lambda request: requests.append(request.url.removeprefix(desk.origin)))
    booting = factories.booting(name="waking")
    desk.open_list()
    expect(desk.status(booting)).to_have_text("Provisioning")
    desk.mark()
    factories.bring_online(booting)
    expect(desk.status(booting)).to_have_text("Online")
    assert not desk.was_reloaded()

    other = factories.booting(name="other")
    desk.open_workspace(other)
    desk.mark()
    factories.bring_online(other)
    expect(desk.page.locator(".slipway-status").first).to_have_text("Online")
    assert not desk.was_reloaded()
    assert len(requests) > 10
    assert [path for path in requests if not path.startswith(("/slipway/", "data:"))] == []
    assert desk.problems == []
