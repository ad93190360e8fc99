"""A pytest plugin: prints which tests were left out and why. With --none-left-out a skipped test fails the run."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from workspaces.provisioners.process import cgroups, namespaces

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
# Debian installs it outside an ordinary user's PATH.
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@dataclass(frozen=True, kw_only=True)
class Need:
    """A program that the tests of a marker need, and the Debian package that has it."""

    tests: str
    package: str
    is_there: bool

    @property
    def reason(self):
        """Return the reason for the skip."""
        return f"{self.package} is not installed"

    @property
    def advice(self):
        """Return what to do about it."""
        return f"get them with `apt-get install {self.package}`"


@dataclass(frozen=True, kw_only=True)
class CgroupNeed:
    """A cgroup v2 below our own, which a container or an ordinary user may not be allowed to make."""

    tests: str = "tests of cgroups"
    reason: str = "no cgroup v2 can be made here"
    advice: str = "run them as root on a host with cgroup v2"

    @property
    def is_there(self):
        parent = cgroups.of_process()
        return parent is not None and os.access(parent, os.W_OK)


@dataclass(frozen=True, kw_only=True)
class NamespaceNeed:
    """Namespaces that a container or an ordinary user may not be allowed to make."""

    flags: int
    tests: str
    reason: str
    advice: str

    @property
    def is_there(self):
        return namespaces.may_make(self.flags)


NEEDS = {
    "browser": Need(tests="browser tests", package="chromium", is_there=CHROMIUM is not None),
    "faketime": Need(tests="tests of wrong host clocks", package="faketime", is_there=FAKETIME is not None),
    "cgroup": CgroupNeed(),
    "namespace": NamespaceNeed(
        flags=namespaces.PID,
        tests="tests of pid namespaces",
        reason="no pid namespace can be made here",
        advice="run them as root on a host that allows them",
    ),
    "user_namespace": NamespaceNeed(
        flags=namespaces.PID | namespaces.USER,
        tests="tests of user namespaces",
        reason="no user namespace can be made here",
        advice="run them on a host that allows them",
    ),
    "nginx": Need(tests="tests of streams behind nginx", package="nginx-light", is_there=NGINX is not None),
}


def pytest_addoption(parser):
    parser.addoption("--none-left-out", action="store_true", help="fail if a test was skipped")


def pytest_collection_modifyitems(items):
    """Skip the tests whose program is not installed."""
    for marker, need in NEEDS.items():
        for item in [] if need.is_there else items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=need.reason))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """Fail the run if tests were skipped that had to run, and print which ones in the last lines."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    is_forbidden = bool(skipped) and session.config.getoption("--none-left-out")
    if is_forbidden and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    yield
    for need in NEEDS.values():
        if count := sum(need.reason in str(report.longrepr) for report in skipped):
            reporter.write_line(f"{count} {need.tests} were left out: {need.advice}.")
    if is_forbidden:
        reporter.write_line(f"{len(skipped)} tests were left out, and --none-left-out forbids that.", red=True)
