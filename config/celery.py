"""The Celery application and the schedule of its tasks."""

import os
import warnings
from typing import Any

from celery import Celery
from celery.concurrency.prefork import TaskPool as ProcessPool
from celery.exceptions import CPendingDeprecationWarning
from celery.signals import task_postrun, task_prerun, worker_init
from django.conf import settings
from django.db import close_old_connections

from postgres.time_limits import ProcessRole, set_process_role
from workspaces.provisioners.registry import process_provisioner
from workspaces.workers import LAUNCH_QUEUE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Celery warns each time Redis is lost. Its advice would cancel launches, which continue without Redis.
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
    "prune": {"task": "workspaces.tasks.prune", "schedule": settings.PRUNE_INTERVAL_SECONDS},
    "dispatch_due": {"task": "workspaces.tasks.dispatch_due", "schedule": settings.WATCH_INTERVAL_SECONDS},
}
# Messages don't expire: that would need hosts whose clocks agree. config/paced_tasks.py skips messages that piled up.


@task_prerun.connect
@task_postrun.connect
def close_stale_connections(sender: Any, **_: Any) -> None:
    """Keep a worker's database connection from task to task; close it only if it is broken or too old.

    A new connection for each task would cost as much as all queries of a launch.
    """
    if not sender.request.is_eager:
        close_old_connections()


@worker_init.connect
def limit_statements(**_: Any) -> None:
    """Give the database connections of a worker, and of its pool's processes, the limits of workers."""
    set_process_role(ProcessRole.WORKER)


@worker_init.connect
def prepare_backend(sender: Any, **_: Any) -> None:
    """Prepare a worker of launches for the process backend before it starts its threads."""
    if LAUNCH_QUEUE not in sender.app.amqp.queues.consume_from:
        return
    if sender.pool_cls is ProcessPool:
        raise SystemExit(
            "A worker of the queue `launch` needs `--pool threads`: "
            "the processes of Celery's default pool may not start processes of their own."
        )
    process_provisioner().prepare()
