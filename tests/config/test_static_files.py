"""Static files are served from the packages: nothing is collected, and nothing is missed."""

import subprocess
import sys
from contextlib import closing

from django.conf import settings

from config.entry.browser_middleware import StaticFiles

STYLESHEET = "workspaces/admin.css"


def not_found(request):
    raise AssertionError(f"{request.path} is not a static file")


def body(request):
    with closing(StaticFiles(not_found)(request)) as page:
        return b"".join(page.streaming_content)


def test_a_production_process_starts_without_a_warning_if_nothing_was_collected(tmp_path):
    code = f"from config import settings; settings.STATIC_ROOT = {str(tmp_path / 'none')!r}; import config.wsgi"
    command = [sys.executable, "-W", "error::UserWarning", "-c", code]
    run = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr


def test_files_are_served_without_being_collected(rf, settings, tmp_path):
    settings.STATIC_ROOT = tmp_path / "none"
    assert b".slipway-status" in body(rf.get(f"/static/{STYLESHEET}"))


def test_what_was_collected_is_served_too(rf, settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    (tmp_path / "collected.css").write_text("a {}")
    assert body(rf.get("/static/collected.css")) == b"a {}"
