"""The kinds of backend. One place for settings, models, the registry and the tests."""

from django.db.models import TextChoices


class BackendKind(TextChoices):
    """What runs a workspace."""

    # A process on the worker's host, without isolation.
    PROCESS = "process", "Process"
    # Somebody else runs it and connects it.
    EXTERNAL = "external", "External"
    # Runs nowhere: `manage.py simulate` plays its agents.
    SIMULATED = "simulated", "Simulated"

    @property
    def gives_address(self) -> bool:
        """Return whether the backend decides a workspace's URL, so that the URL an agent sends is ignored."""
        return self in LAUNCHED_KINDS


# The kinds on which Slipway launches workspaces: values of PROVISIONER, and keys of the registry.
LAUNCHED_KINDS = tuple(kind for kind in BackendKind if kind is not BackendKind.EXTERNAL)
