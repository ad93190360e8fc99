"""The admin in Chromium under its Content-Security-Policy: nothing that a page needs is blocked."""

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import expect

from tests.browser.desk import Desk
from tests.events.channels import factories as channels
from tests.workspaces import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.browser]

# Collects what the policy blocks, from before the page's own scripts on.
COLLECT = """
    window.blocked = [];
    document.addEventListener("securitypolicyviolation", event => {
        window.blocked.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile} ${event.sample}`);
    });
"""
PAGES = [
    "/admin/",
    "/admin/workspaces/workspace/",
    "/admin/workspaces/workspace/add/",
    "/admin/workspaces/workspace/{workspace}/change/",
    "/admin/workspaces/workspace/{workspace}/history/",
    "/admin/events/channel/",
    "/admin/events/channel/add/",
    "/admin/events/channel/add/?kind=webhook",
    "/admin/events/channel/{channel}/change/",
    "/admin/events/channel/{channel}/test/",
    "/admin/events/channel/{channel}/redrive/",
    "/admin/events/channel/{channel}/delete/",
    "/admin/events/delivery/",
    "/admin/events/event/",
    "/admin/auth/user/",
    "/admin/auth/user/add/",
    "/admin/auth/user/{user}/change/",
    "/admin/auth/group/{group}/change/",
    "/admin/password_change/",
    "/api/docs",
]


@pytest.fixture
def watched(stack, page):
    """An operator whose pages collect what is blocked."""
    page.context.add_init_script(COLLECT)
    User.objects.create_superuser("operator", password=Desk.PASSWORD)
    desk = Desk(page, port=stack.port)
    desk.sign_in("operator")
    return desk


def test_no_page_needs_anything_that_the_policy_blocks(watched):
    names = {
        "workspace": factories.failed(name="mine").pk,
        "channel": channels.webhook("https://8.8.8.8/hook").pk,
        "user": User.objects.get().pk,
        "group": Group.objects.create(name="ops").pk,
    }
    blocked = {}
    for path in PAGES:
        answer = watched.page.goto(watched.base + path.format(**names))
        watched.page.wait_for_timeout(300)
        assert answer.status == 200, path
        assert "'unsafe-inline'" not in answer.headers["content-security-policy"]
        blocked[path] = watched.page.evaluate("window.blocked")
    assert {path: what for path, what in blocked.items() if what} == {}
    assert watched.problems == []


def test_the_theme_s_colours_and_menus_work(watched):
    factories.failed(name="mine")
    watched.page.goto(f"{watched.base}/admin/workspaces/workspace/")
    colour = "getComputedStyle(document.documentElement).getPropertyValue('--color-primary-600')"
    assert "oklch(54.6%" in watched.page.evaluate(colour).replace("0.546", "54.6%")
    watched.page.locator("[name=_selected_action]").first.check()
    actions = watched.page.locator("#changelist-actions")
    expect(actions).to_be_visible()
    assert actions.evaluate("element => element.style.width").endswith("px")
    watched.page.get_by_role("link", name="mine").first.click()
    expect(watched.page.get_by_role("region", name="Failure")).to_be_visible()
    assert watched.page.evaluate("window.blocked") == []


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>window.stolen = 1</script>",
        "<img src=x onerror='window.stolen = 1'>",
        "<style>body { display: none }</style>",
        "<a href='javascript:window.stolen = 1' id=bait>x</a>",
    ],
)
def test_text_that_got_into_a_page_as_markup_does_nothing(watched, hostile):
    watched.page.goto(f"{watched.base}/admin/")
    watched.page.evaluate(
        "html => document.body.append(document.createRange().createContextualFragment(html))", hostile
    )
    if "bait" in hostile:
        watched.page.evaluate("document.querySelector('#bait').click()")
    watched.page.wait_for_function("window.blocked.length > 0")
    assert watched.page.evaluate("window.stolen") is None
