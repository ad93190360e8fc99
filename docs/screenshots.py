"""Take the screenshots in docs/images of a Slipway that is started for them: `make screenshots`."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Page, sync_playwright
from screenshots_channels import take_channel_screenshots
from screenshots_demo import launch_chromium, take_demo_screenshots
from screenshots_top import take_top_screenshot
from slipway.profiles import Server

PROJECT = Path(__file__).resolve().parent.parent
IMAGES = PROJECT / "docs" / "images"
PORT = 8099
ADMIN = f"http://127.0.0.1:{PORT}/admin/"
ACCOUNT, PASSWORD = "operator", "only-for-pictures"
SIZE = {"width": 1280, "height": 720}

FAILING = """name: nightly-import
runtime: crewai
runtime_config:
  boot:
    - {step: fetch packages, run: echo "Collecting crewai"; echo "  Downloading crewai-0.80.0.tar.gz"}
    - {step: build wheels, run: echo "fatal error; Python.h - No such file or directory"; exit 3}
"""
SLOW = """name: research
runtime: langgraph
runtime_config:
  boot:
    - {step: create environment, run: sleep 1}
    - {step: install packages, run: sleep 60}
"""


def main() -> None:
    """Start Slipway, launch workspaces, take the screenshots, and stop."""
    with tempfile.TemporaryDirectory(prefix="slipway-pictures-") as scratch:
        environment = {**os.environ, "DATA_DIR": scratch, "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        for name in ("DATABASE_URL", "REDIS_URL", "PLATFORM_URL"):
            environment.pop(name, None)
        environment["PLATFORM_URL"] = f"http://127.0.0.1:{PORT}"
        environment["DELIVERY_ALLOW_PRIVATE"] = "127.0.0.0/8"
        with _running(environment):
            _fill(Path(scratch), environment)
            _take_screenshots()
            _take_top(environment)
        take_demo_screenshots(Path(scratch) / "demo", images=IMAGES, size=SIZE)


@contextmanager
def _running(environment: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "manage.py", "up", "--port", str(PORT), "--no-first-workspace"]
    up = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL)
    try:
        _wait_for_web()
        yield
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(timeout=30)


def _wait_for_web(seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urlopen(f"http://127.0.0.1:{PORT}/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    raise TimeoutError("The web server did not answer.")


def _fill(scratch: Path, environment: dict[str, str]) -> None:
    failing, slow = scratch / "failing.yaml", scratch / "slow.yaml"
    failing.write_text(FAILING)
    slow.write_text(SLOW)
    account = ["createsuperuser", "--noinput", "--username", ACCOUNT, "--email", ""]
    launches = [
        ["launch", "echo", "--name", "greeter", "--wait"],
        ["launch", "--config", str(failing), "--wait"],
        ["launch", "claude-code", "--name", "code-review", "--wait"],
        ["launch", "echo", "--name", "triage", "--wait"],
        ["launch", "--config", str(slow)],
    ]
    for arguments in (account, *launches):
        # A launch that fails exits with 1: two of these are meant to.
        subprocess.run(
            [sys.executable, "manage.py", *arguments], cwd=PROJECT, env=environment, check=False, timeout=120
        )


def _take_screenshots() -> None:
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        _sign_in(page)
        page.goto(ADMIN + "workspaces/workspace/")
        page.wait_for_selector("#live[data-state=live]")
        page.get_by_text("install packages").wait_for()
        page.screenshot(path=IMAGES / "admin-list.png")
        page.get_by_role("link", name="nightly-import").click()
        page.wait_for_selector("#live[data-state=live]")
        page.screenshot(path=IMAGES / "admin-failed.png")
        take_channel_screenshots(page, admin=ADMIN, images=IMAGES)
        browser.close()


def _take_top(environment: dict[str, str]) -> None:
    """Restart two workspaces while `slipway top` is open, so that there is something to see."""
    create = [sys.executable, "manage.py", "api_key", "create", "pictures", "--scope", "read"]
    created = subprocess.run(create, cwd=PROJECT, env=environment, check=True, timeout=60, capture_output=True)
    server = Server(url=f"http://127.0.0.1:{PORT}", key=created.stdout.decode().split()[-1])
    restart = [sys.executable, "manage.py", "restart", "triage", "greeter"]
    restarting = subprocess.Popen(restart, cwd=PROJECT, env=environment)
    take_top_screenshot(server, images=IMAGES)
    restarting.wait(timeout=60)


def _sign_in(page: Page) -> None:
    page.goto(ADMIN)
    page.fill("[name=username]", ACCOUNT)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url(ADMIN)


if __name__ == "__main__":
    main()
