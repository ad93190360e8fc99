"""A pytest plugin: says in one line which tests were left out and why, and fails the run where none may be."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_NO_CHROMIUM = "Chromium is not installed"
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
_NO_FAKETIME = "faketime is not installed"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--none-left-out", action="store_true", help="fail where a test was skipped")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what drives a browser where there is none, and what sets a clock where nothing can."""
    missing = {"browser": "" if CHROMIUM else _NO_CHROMIUM, "faketime": "" if FAKETIME else _NO_FAKETIME}
    for marker, reason in missing.items():
        for item in items if reason else []:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Turn a green run into a red one where tests were left out that had to run; the last lines say what was."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    is_forbidden = bool(skipped) and session.config.getoption("--none-left-out")
    if is_forbidden and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    if browser := sum(_NO_CHROMIUM in str(report.longrepr) for report in skipped):
        reporter.write_line(
            f"{browser} browser tests were left out: Chromium is missing, get it with `apt-get install chromium`."
        )
    if clock := sum(_NO_FAKETIME in str(report.longrepr) for report in skipped):
        reporter.write_line(
            f"{clock} tests of wrong host clocks were left out: get it with `apt-get install faketime`."
        )
    if is_forbidden:
        reporter.write_line(f"{len(skipped)} tests were left out, and --none-left-out forbids that.", red=True)
