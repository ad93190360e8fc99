"""A pytest plugin: says in one line which tests were left out and why, and fails the run where none may be."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_NO_CHROMIUM = "Chromium is not installed"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--none-left-out", action="store_true", help="fail where a test was skipped")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what drives a browser where there is none."""
    if not CHROMIUM:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason=_NO_CHROMIUM))


def _skipped(session: pytest.Session) -> list[pytest.TestReport]:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    return reporter.stats.get("skipped", []) if reporter else []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a green run into a red one where tests were left out that had to run."""
    if session.config.getoption("--none-left-out") and _skipped(session) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """End with one line for the browser tests, another for what CI forbids."""
    skipped = terminalreporter.stats.get("skipped", [])
    browser = sum(_NO_CHROMIUM in str(report.longrepr) for report in skipped)
    if browser:
        terminalreporter.write_line(
            f"{browser} browser tests were left out: Chromium is missing, get it with `apt-get install chromium`."
        )
    if skipped and config.getoption("--none-left-out"):
        terminalreporter.write_line(f"{len(skipped)} tests were left out, and --none-left-out forbids that.", red=True)
