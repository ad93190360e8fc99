"""The columns of a workspace, as `slipway ls` and `slipway top` show them."""

from datetime import UTC, datetime

from rich.text import Text

from slipway.output import Columns, Row

# A status that is not listed is shown plainly, so that a newer server's fleet can be shown, too.
STATUS_STYLES = {
    "provisioning": "cyan",
    "online": "green",
    "offline": "red",
    "degraded": "yellow",
    "failed": "bold red",
    "removed": "dim",
    "paused": "blue",
    "hibernated": "magenta",
    "hibernating": "magenta",
    "awaiting_agent": "yellow",
}


def status_of(row: Row) -> Text:
    """Return the status in its colour."""
    return Text(row["status"], style=STATUS_STYLES.get(row["status"], ""))


def detail_of(row: Row) -> str:
    """Return what there is to know beside the status: the step of a boot, a failure's reason, the task."""
    if row["phase"]:
        # An older server tells no detail.
        step = " · ".join(filter(None, (row["phase"], row["progress_step"], row.get("progress_detail"))))
        place = row.get("queue_position")
        return f"{step} ({place} in the queue)" if place else step
    if row["failure"]:
        return f"{row['failure']['code']}: {row['failure']['message']}"
    return str(row["current_task"] or row["last_sample_error"])


def age_of(row: Row) -> str:
    """Return how long ago it was created, as `5m`."""
    return short_duration((datetime.now(UTC) - datetime.fromisoformat(row["created_at"])).total_seconds())


def short_duration(seconds: float) -> str:
    """Return a duration in its largest unit: `42s`, `5m`, `3h`, `12d`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"


WORKSPACE_COLUMNS: Columns = {
    "NAME": lambda row: row["name"],
    "STATUS": status_of,
    "RUNTIME": lambda row: row["runtime"],
    "AGE": age_of,
    "ID": lambda row: row["id"],
    "DETAIL": detail_of,
}
