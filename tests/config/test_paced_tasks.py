"""Messages that beat sent while the workers were away run once when they are back, and later ones run as usual."""

import pytest

from config.celery import app
from config.paced_tasks import LastRun, has_just_run


@pytest.mark.parametrize(
    ("began_ago", "ended_ago", "expected"),
    [
        # Short runs: a pile is one run, and messages at beat's pace all run, even if they come a little late or early.
        (0.1, 0, True),
        (14.9, 14.8, True),
        (15, 14.9, False),
        (29.9, 29.8, False),
        # Runs that take most of the interval, or longer, are followed by a short rest.
        (25, 5, False),
        (40, 3, False),
        (40, 2.9, True),
        (3600, 3600, False),
    ],
)
def test_a_message_runs_unless_its_task_has_just_run(began_ago, ended_ago, expected):
    last = LastRun(began_at=1000 - began_ago, ended_at=1000 - ended_ago)
    assert has_just_run(last, interval_seconds=30, now=1000) == expected
    assert not has_just_run(None, interval_seconds=30, now=1000)


def test_no_message_from_beat_expires():
    assert len(app.conf.beat_schedule) >= 7
    assert [entry for entry in app.conf.beat_schedule.values() if "expires" in entry.get("options", {})] == []
