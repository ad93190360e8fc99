"""A Celery application whose only task does nothing, with our broker and our settings of how messages are taken."""

import os

from celery import Celery

app = Celery("noop", broker=os.environ["REDIS_URL"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_ignore_result=True, task_default_queue="noop")


@app.task
def nothing() -> None:
    """Do nothing."""
