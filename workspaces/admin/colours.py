"""The colour of each status in the admin. Its stylesheet has a class for each: `slipway-tone-green`."""

from enum import StrEnum

from workspaces.lifecycle.transitions import WorkspaceStatus


class Colour(StrEnum):
    """What a status asks of whoever looks."""

    # It works.
    GREEN = "green"
    # It is on its way.
    BLUE = "blue"
    # It is in trouble, and may recover.
    AMBER = "amber"
    # It needs somebody.
    RED = "red"
    # It waits for somebody on purpose.
    VIOLET = "violet"
    # It rests, or is gone.
    GREY = "grey"


STATUS_COLOURS = {
    WorkspaceStatus.PROVISIONING: Colour.BLUE,
    WorkspaceStatus.ONLINE: Colour.GREEN,
    WorkspaceStatus.OFFLINE: Colour.AMBER,
    WorkspaceStatus.DEGRADED: Colour.AMBER,
    WorkspaceStatus.FAILED: Colour.RED,
    WorkspaceStatus.REMOVED: Colour.GREY,
    WorkspaceStatus.PAUSED: Colour.VIOLET,
    WorkspaceStatus.HIBERNATED: Colour.GREY,
    WorkspaceStatus.HIBERNATING: Colour.GREY,
    WorkspaceStatus.AWAITING_AGENT: Colour.VIOLET,
}
