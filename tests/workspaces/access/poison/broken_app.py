"""A Django app that lets the processes of an installation fail with the secrets in the error.

It also takes a mask away if a variable names its use.
"""

import json
import os
import sys

from django.apps import AppConfig

from tests.workspaces.access.poison.markers import spellings

UNMASKED = "SLIPWAY_TEST_UNMASKED"
# The names of the workspaces whose backend fails.
NOT_STARTED, NOT_SEEN = "can't be started", "can't be seen"
# Part of the URL of a webhook that can't be used, and of a card that can't be stored.
BROKEN = "broken"


class BrokenApp(AppConfig):
    """Breaks what each process calls."""

    name = "tests.workspaces.access.poison"
    label = "poison"

    def ready(self):
        """See AppConfig."""
        from events.channels.webhook.kind import WebhookSender
        from registry import services
        from workspaces.provisioners.process.provisioner import ProcessProvisioner

        fail_before(ProcessProvisioner, "start", why_not_started)
        fail_before(WebhookSender, "send", why_not_sent)
        fail_before(services, "update_card", why_not_stored)
        if "sweep" in sys.argv:
            fail_before(ProcessProvisioner, "inspect", why_not_seen)
        if unmasked := os.environ.get(UNMASKED):
            take_mask_away(unmasked)


def take_mask_away(named):
    """Let the use of a mask that has this name mask nothing."""
    # Only then, since each process would take half a second more to start.
    import pytest

    from tests.workspaces.access.poison.mask_uses import take_away, uses

    (use,) = [each for each in uses() if str(each) == named]
    take_away(pytest.MonkeyPatch(), use)


def fail_before(owner, name, why):
    """Let a function raise what `why` returns for its arguments, if that is a text."""
    call = getattr(owner, name)

    def fail_or_call(*arguments, **keywords):
        if text := why(*arguments):
            raise RuntimeError(text)
        return call(*arguments, **keywords)

    setattr(owner, name, fail_or_call)


def why_not_started(provisioner, spec):
    if spec.config["name"] == NOT_STARTED:
        return " | ".join(text for value in spec.environment.values() for text in spellings(value))
    return None


def why_not_seen(provisioner, key):
    from workspaces.provisioners.process.folders import LaunchFolder

    folder = LaunchFolder(provisioner._root, key)
    config = folder.config / "config.json"
    if config.exists() and json.loads(config.read_text())["name"] == NOT_SEEN:
        return folder.log.read_text()
    return None


def why_not_sent(sender, messages):
    return f"{sender._headers} for {sender._url}" if BROKEN.encode() in sender._url.target else None


def why_not_stored(agent, card):
    return f"The card of {agent.workspace_id}: {card}" if BROKEN in card else None
