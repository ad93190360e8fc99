"""Screenshots of channels for docs/screenshots.py. Channels are created in the admin's forms, as an operator does."""

from pathlib import Path

from playwright.sync_api import Page

_DELIVERY_MILLISECONDS = 5000


def take_channel_screenshots(page: Page, *, admin: str, images: Path) -> None:
    """Create two channels, test one, and take screenshots of the form, the answer, the list and a channel."""
    _make(page, admin, kind="log", name="audit log", fields={})
    # Nothing listens there, and the channel's page shows that.
    _make(page, admin, kind="webhook", name="pager", fields={"url": "http://127.0.0.1:9/hooks/slipway"})
    page.goto(f"{admin}events/channel/add/?kind=webhook")
    page.wait_for_selector("[name=url]")
    page.screenshot(path=images / "admin-channel-form.png")
    page.goto(f"{admin}events/channel/")
    page.get_by_role("link", name="audit log").click()
    page.get_by_role("link", name="Send a test").click()
    page.get_by_role("button", name="Send").click()
    page.get_by_text("The test was accepted").wait_for()
    page.screenshot(path=images / "admin-channel-test.png")
    page.get_by_role("link", name="Back to the channel").click()
    page.goto(f"{admin}workspaces/workspace/")
    page.get_by_role("link", name="greeter").click()
    page.get_by_role("link", name="Restart").click()
    page.get_by_role("button", name="Restart").click()
    page.wait_for_timeout(_DELIVERY_MILLISECONDS)
    page.goto(f"{admin}events/channel/")
    page.screenshot(path=images / "admin-channels.png")
    page.get_by_role("link", name="pager").click()
    page.get_by_role("heading", name="Health").wait_for()
    page.screenshot(path=images / "admin-channel.png")


def _make(page: Page, admin: str, *, kind: str, name: str, fields: dict[str, str]) -> None:
    page.goto(f"{admin}events/channel/add/?kind={kind}")
    page.fill("[name=name]", name)
    if kind == "webhook":
        page.locator("[name=is_https_only]").set_checked(False, force=True)
    for field, text in fields.items():
        page.fill(f"[name={field}]", text)
    page.locator("button[name=_save]").click()
    page.wait_for_url(f"{admin}events/channel/")
