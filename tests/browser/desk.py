"""An operator's desk: a browser that is signed in to the admin."""

from playwright.sync_api import Locator, Page, expect

from workspaces.models import Workspace

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
# What the story allows a change to take until it is on the screen.
PATIENCE_MS = 10_000


class Desk:
    PASSWORD = "only-for-tests"

    def __init__(self, page: Page, *, port: int) -> None:
        self.page = page
        self.base = f"http://127.0.0.1:{port}"
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    def sign_in(self, name: str) -> None:
        # Under load the first page, with all its scripts, is slow.
        self.page.goto(f"{self.base}/admin/", timeout=60_000)
        self.page.fill("[name=username]", name)
        self.page.fill("[name=password]", self.PASSWORD)
        self.page.press("[name=password]", "Enter")
        self.page.wait_for_url("**/admin/", timeout=60_000)

    def open_list(self, query: str = "") -> None:
        self.page.goto(f"{self.base}/admin/workspaces/workspace/{query}")
        self.expect_live()

    def open_workspace(self, workspace: Workspace) -> None:
        self.page.goto(f"{self.base}/admin/workspaces/workspace/{workspace.pk}/change/")
        self.expect_live()

    def open_create(self) -> None:
        self.page.goto(f"{self.base}/admin/workspaces/workspace/add/")

    def expect_live(self) -> None:
        expect(self.page.locator("#live")).to_have_attribute("data-state", "live", timeout=PATIENCE_MS)

    def row(self, workspace: Workspace) -> Locator:
        return self.page.locator(f"tr:has([data-row='{workspace.pk}'])")

    def status(self, workspace: Workspace) -> Locator:
        return self.row(workspace).locator(".slipway-status")

    def mark(self) -> None:
        """Leave a mark that a reload would wipe away."""
        self.page.evaluate("window.slipwayMark = true")

    def was_reloaded(self) -> bool:
        return not self.page.evaluate("window.slipwayMark === true")
