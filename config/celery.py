"""The Celery application; its schedule is the only place that says how often something runs."""

import os
import warnings
from typing import Any

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.signals import task_postrun, task_prerun
from django.conf import settings
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Said at each loss of Redis: what it advises would cancel launches that go on very well without it.
warnings.filterwarnings("ignore", message="\nIn Celery 5.1", category=CPendingDeprecationWarning)

app = Celery("slipway", task_cls="config.paced_tasks:PacedTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    "sweep_stuck": {"task": "workspaces.tasks.sweep_stuck", "schedule": settings.SWEEP_INTERVAL_SECONDS},
    "sweep_silent": {"task": "registry.tasks.sweep_silent", "schedule": settings.SWEEP_INTERVAL_SECONDS},
    "sweep_hibernation": {"task": "workspaces.tasks.sweep_hibernation", "schedule": settings.SWEEP_INTERVAL_SECONDS},
    "reap": {"task": "workspaces.tasks.reap", "schedule": settings.SWEEP_INTERVAL_SECONDS},
    "delete_files": {"task": "workspaces.tasks.delete_files", "schedule": settings.SWEEP_INTERVAL_SECONDS},
    "watch": {"task": "workspaces.tasks.watch", "schedule": settings.WATCH_INTERVAL_SECONDS},
    "dispatch_due": {"task": "workspaces.tasks.dispatch_due", "schedule": settings.WATCH_INTERVAL_SECONDS},
}
# No message expires: two hosts' clocks would have to agree on when. What piled up is ended by config/paced_tasks.py.


@task_prerun.connect
@task_postrun.connect
def look_after_connections(sender: Any, **_: Any) -> None:
    """Keep a worker's database connection from task to task; one that is broken or too old is made anew.

    A new one a task costs as much as all that a launch asks of the database.
    """
    if not sender.request.is_eager:
        close_old_connections()
