"""docs/explanation/deadlines.md says what the code does."""

import re

import pytest
from django.conf import settings

from workspaces.deadlines.policy import (
    BOOT_LIMITS,
    DEFAULT_BOOT_LIMIT,
    HIBERNATING_SECONDS,
    LAUNCHING_SECONDS,
    QUEUED_SECONDS,
    STOPPING_SECONDS,
)
from workspaces.lifecycle.failures import owner_of
from workspaces.lifecycle.transitions import FailureCode, FailureOwner

PAGE = (settings.BASE_DIR / "docs" / "explanation" / "deadlines.md").read_text()
# The columns are: what happens, when it fails, the codes, the owner, what is known.
TABLE = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("|")][
    2:
]
SAID = set(FailureCode.values) - {""}


def codes_of(row):
    return re.findall(r"`(\w+)`", row[2])


def test_the_table_has_every_failure_code():
    assert {len(row) for row in TABLE} == {5}
    assert {code for row in TABLE for code in codes_of(row)} == SAID


@pytest.mark.parametrize(
    "row", [row for row in TABLE if codes_of(row) not in ([], ["crashed"], ["crash_loop"])], ids=lambda row: row[2]
)
def test_each_code_has_the_owner_that_the_table_says(row):
    # The owner of a crash follows from its evidence; test_failures.py has that table.
    assert {owner_of(code, source="", evidence={}) for code in codes_of(row)} == {FailureOwner(row[3])}


@pytest.mark.parametrize(
    ("begins", "figures"),
    [
        (
            "the launch waits in the queue",
            [f"{QUEUED_SECONDS // 60} minutes", f"{settings.QUEUE_LONGEST_SECONDS // 3600} hours"],
        ),
        ("its backend does not confirm", [f"{LAUNCHING_SECONDS // 60} minutes"]),
        (
            "its agent does not register",
            [
                f"{DEFAULT_BOOT_LIMIT.sweep_seconds // 60} minutes",
                f"hermes {BOOT_LIMITS['hermes'].sweep_seconds // 60}",
            ],
        ),
        ("its process was ended by a signal", [f"{settings.WATCH_INTERVAL_SECONDS} seconds"]),
        ("online, and no heartbeat", [f"{settings.HEARTBEAT_LIMIT_SECONDS} seconds"]),
        ("hibernating, and its stop", [f"{HIBERNATING_SECONDS // 60} minutes"]),
        ("to be stopped", [f"{STOPPING_SECONDS // 60} minutes"]),
    ],
)
def test_the_figures_in_the_table_are_those_of_the_policy(begins, figures):
    [row] = [row for row in TABLE if row[0].startswith(begins)]
    assert all(figure in " ".join(row[:2]) for figure in figures)


def test_the_other_figures_are_those_of_the_settings():
    hermes = BOOT_LIMITS["hermes"]
    prose = " ".join(PAGE.split())
    assert f"The sweep, every {settings.SWEEP_INTERVAL_SECONDS} seconds" in prose
    assert f"hermes {hermes.watcher_seconds // 60} of {hermes.sweep_seconds // 60} minutes" in prose
    assert f"keeps waiting: {settings.QUEUE_LONGEST_SECONDS // 3600} hours at most" in prose
    assert settings.TEARDOWN_GRACE_SECONDS == 600
    assert "for ten more minutes" in prose
    assert f"at least {settings.BRAKE_LEAST_LATE} booting launches" in prose
    assert settings.BRAKE_PERCENT == 50
    assert "more than half" in prose
    assert f"after {settings.BRAKE_LONGEST_HOLD_SECONDS // 60} minutes, or when an operator" in prose
    assert f"a gap of {settings.OUTAGE_AFTER_SECONDS} seconds" in prose
