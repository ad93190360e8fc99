"""Sends secret values through everything that can fail."""

from django.conf import settings

from events import relay
from events.delivery.deliverer import deliver_all_due
from tests.events.channels.factories import channel, mattermost, webhook
from tests.workspaces.access.poison.agents import agents_report
from tests.workspaces.access.poison.backends import backends_fail, boots_fail, the_log_can_not_read
from tests.workspaces.access.poison.deliveries import receivers_repeat
from tests.workspaces.access.poison.followed_logs import logs_are_followed
from tests.workspaces.access.poison.listening import listening
from tests.workspaces.access.poison.markers import VALUES
from tests.workspaces.access.poison.operators import calls_are_refused, pages_are_read
from tests.workspaces.access.poison.world import STREAM
from workspaces.access.secret_sets import create_set
from workspaces.services.core.secret_changes import set_secrets

EVERYTHING = (
    agents_report,
    boots_fail,
    backends_fail,
    logs_are_followed,
    calls_are_refused,
    receivers_repeat,
    the_log_can_not_read,
)


def spread(world, monkeypatch, paths=None):
    """Send the values through these paths; through every one if none is given."""
    set_secrets({"SHARED": "overridden by the set", "GLOBAL": VALUES["global"]}, by="root")
    create_set("poisoned")
    channels(world)
    with listening(world):
        set_secrets({"SHARED": VALUES["shared"]}, secret_set="poisoned", by="root")
        for path in paths or EVERYTHING:
            path(world, monkeypatch)
        relay.number_all()
        deliver_all_due()
    # Without a mask, most is found by now, and to read everything takes long.
    if paths is None or not world.leaks():
        with listening(world):
            pages_are_read(world)
    for request in world.receiver.received:
        world.tell("webhook or chat", request.body)
    for mail in world.mails.mails:
        world.tell("e-mail", mail.replace(b"=\r\n", b""))


def channels(world):
    """Make a channel of each kind that sends what it gets."""
    webhook(world.receiver.url)
    channel("chat", {"url": mattermost(world.receiver)})
    channel("email", {"recipients": "ops@example.com", "subject_prefix": ""})
    channel("log", {"level": "WARNING"})
    channel("redis_stream", {"url": settings.REDIS_URL, "stream": STREAM, "max_length": 9999})
