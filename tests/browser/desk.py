"""An operator's desk: a browser that is signed in to the admin."""

from itertools import count

from playwright.sync_api import expect

from tests.callers import AgentCaller
from tests.waiting import PATIENCE_SECONDS, wait_until

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
PATIENCE_MS = PATIENCE_SECONDS * 1000
# Without the page's polling, every update comes from the stream.
_WITHOUT_POLLING = """
    const setOften = window.setInterval.bind(window);
    window.setInterval = (act, pause) => pause > 1000 ? 0 : setOften(act, pause);
"""


class Desk:
    PASSWORD = "only-for-tests"

    def __init__(self, page, *, port, prefix=""):
        self.page = page
        self.origin = f"http://127.0.0.1:{port}"
        self.base = self.origin + prefix
        self.problems = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.set_default_timeout(PATIENCE_MS)

    def without_polling(self):
        """Turn off polling in pages that are opened from now on."""
        self.page.context.add_init_script(_WITHOUT_POLLING)

    def sign_in(self, name):
        self.page.goto(f"{self.base}/admin/")
        self.page.fill("[name=username]", name)
        self.page.fill("[name=password]", self.PASSWORD)
        self.page.press("[name=password]", "Enter")
        self.page.wait_for_url("**/admin/")

    def open_list(self, query=""):
        self.page.goto(f"{self.base}/admin/workspaces/workspace/{query}")
        self.expect_live()

    def open_workspace(self, workspace):
        self.page.goto(f"{self.base}/admin/workspaces/workspace/{workspace.pk}/change/")
        self.expect_live()

    def open_create(self):
        self.page.goto(f"{self.base}/admin/workspaces/workspace/add/")

    def expect_live(self):
        expect(self.page.locator("#live")).to_have_attribute("data-state", "live")

    def row(self, workspace):
        return self.page.locator(f"tr:has([data-row='{workspace.pk}'])")

    def status(self, workspace):
        return self.row(workspace).locator(".slipway-status")

    def mark(self):
        """Leave a mark that a reload would wipe away."""
        self.page.evaluate("window.slipwayMark = true")

    def was_reloaded(self):
        return not self.page.evaluate("window.slipwayMark === true")

    def await_step(self, workspace, *, place):
        """Send boot steps until one is shown there, since they are published best effort."""
        agent, number = AgentCaller(workspace), count()

        def is_shown():
            agent.progress(step=f"unpacking {next(number)}")
            self.page.wait_for_timeout(300)
            return "unpacking" in place.inner_text()

        wait_until(is_shown)
