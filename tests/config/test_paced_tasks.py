"""What beat sent while workers were away: done once on their return, and never starved."""

import pytest

from config.celery import app
from config.paced_tasks import Run, is_just_done


@pytest.mark.parametrize(
    ("began_ago", "ended_ago", "expected"),
    [
        # Short runs: a pile is one run, beat's own pace is kept, also by a message that came late or early.
        (0.1, 0, True),
        (14.9, 14.8, True),
        (15, 14.9, False),
        (29.9, 29.8, False),
        # Runs that take most of the interval, or longer, rest a little and no more.
        (25, 5, False),
        (40, 3, False),
        (40, 2.9, True),
        (3600, 3600, False),
    ],
)
def test_a_message_is_heeded_unless_its_task_was_just_done(began_ago, ended_ago, expected):
    last = Run(began_at=1000 - began_ago, ended_at=1000 - ended_ago)
    assert is_just_done(last, interval_seconds=30, now=1000) == expected
    assert not is_just_done(None, interval_seconds=30, now=1000)


def test_no_message_of_beat_expires_by_a_hosts_clock():
    assert len(app.conf.beat_schedule) >= 7
    assert [entry for entry in app.conf.beat_schedule.values() if "expires" in entry.get("options", {})] == []
