"""Screenshots of `make demo` for docs/screenshots.py, in a separate run at twice the usual speed."""

import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

PROJECT = Path(__file__).resolve().parent.parent
PORT, SPEED = 8098, 20
_PATIENCE_SECONDS = 300


class _Demo:
    """A running demo, and its output so far."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-u", "manage.py", "demo", "--port", str(PORT), "--folder", str(folder)]
        command += ["--speed", str(SPEED), "--patience", "5"]
        self._process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        self._output, self._more = "", threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, pattern: str) -> str:
        """Wait until the output matches the pattern, and return the pattern's group."""
        with self._more:
            found = self._more.wait_for(lambda: re.search(pattern, self._output), _PATIENCE_SECONDS)
        if not found:
            raise TimeoutError(f"The demo never printed {pattern}.")
        return found.group(1)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=30)

    def _read(self) -> None:
        for line in self._process.stdout or ():
            with self._more:
                self._output += line
                self._more.notify_all()


def take_demo_screenshots(folder: Path, *, images: Path, size: dict[str, int]) -> None:
    """Run the demo and take screenshots of held launches, of the first page with the incident, and of the failures."""
    demo = _Demo(folder)
    try:
        admin = demo.wait_for(r"runs at (http://\S+/admin/)")
        with sync_playwright() as playwright:
            page = launch_chromium(playwright).new_page(viewport=size, color_scheme="light")
            _sign_in(page, admin, password=demo.wait_for(r"password (\S+)"))
            demo.wait_for("(Incident: )")
            page.goto(f"{admin}workspaces/workspace/?q=mirror")
            page.get_by_text("held").first.wait_for()
            page.screenshot(path=images / "demo-held.png")
            page.goto(admin)
            page.screenshot(path=images / "demo-incident.png")
            demo.wait_for("(What was expected)")
            page.goto(f"{admin}workspaces/workspace/?status=failed")
            page.wait_for_selector("#live[data-state=live]")
            page.screenshot(path=images / "demo-failed.png")
    finally:
        demo.stop()


def launch_chromium(playwright: Playwright) -> Browser:
    """Start the browser that takes the screenshots."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    return playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])


def _sign_in(page: Page, admin: str, *, password: str) -> None:
    page.goto(admin)
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", password)
    page.press("[name=password]", "Enter")
    page.wait_for_url(admin)
