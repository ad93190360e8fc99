"""The colour of each status, in the admin and in the terminal."""

from enum import StrEnum

from workspaces.lifecycle.transitions import WorkspaceStatus


class Colour(StrEnum):
    """What a status means for an operator. The stylesheet has a class for each, such as `slipway-tone-green`."""

    # It works.
    GREEN = "green"
    # It is being launched.
    BLUE = "blue"
    # It is in trouble and may recover.
    AMBER = "amber"
    # An operator must act.
    RED = "red"
    # It waits for an operator, on purpose.
    VIOLET = "violet"
    # It is stopped, or gone.
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

TERMINAL_COLOURS = {
    Colour.GREEN: "green",
    Colour.BLUE: "blue",
    Colour.AMBER: "yellow",
    Colour.RED: "red",
    Colour.VIOLET: "magenta",
    Colour.GREY: "bright_black",
}


def colour_of(status: str) -> Colour:
    """Return the colour of a status. A status that only newer code knows is grey."""
    return STATUS_COLOURS[WorkspaceStatus(status)] if status in WorkspaceStatus.values else Colour.GREY
