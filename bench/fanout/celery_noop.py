"""A Celery application whose only task does nothing, with the broker and the prefetch settings of Slipway's own."""

import os

from celery import Celery

app = Celery("noop", broker=os.environ["REDIS_URL"])
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_ignore_result=True, task_default_queue="noop")


@app.task
def do_nothing() -> None:
    """Do nothing."""
