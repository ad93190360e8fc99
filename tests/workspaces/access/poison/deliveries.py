"""Receivers that repeat what they were sent: the secrets of channels come back in answers and errors."""

import json
import logging
from base64 import b64decode, b64encode
from urllib.parse import quote

from apprise.plugins.mattermost import NotifyMattermost
from django.conf import settings
from django.db import transaction
from django.urls import reverse

from events import outbox, relay
from events.channels.webhook.kind import WebhookSender
from events.delivery.deliverer import deliver_all_due
from events.models import Channel
from events.names import EventType
from events.outbox import NewEvent
from tests.events.channels.factories import channel, signing_secret, webhook
from tests.events.channels.receivers import Answer
from tests.workspaces.access.poison.markers import CHAT, HEADER, MAIL, URL
from tests.workspaces.access.poison.world import run, signed_in


def receivers_repeat(world, monkeypatch):
    """Receivers take a message, refuse it, want no more, or break the sender, and repeat all that they know."""
    headers = {"Authorization": f"Bearer {HEADER}"}
    for status in (200, 500, 410):
        stored = webhook(f"{world.receiver.url}/{URL}/{status}", headers=headers, name=f"hook {status}")
        world.credentials.append(signing_secret(stored).removeprefix("whsec_"))
    webhook(f"{world.receiver.url}/{URL}/broken", headers=headers, name="hook broken")
    port = world.receiver.server_address[1]
    channel("chat", {"url": f"mmost://127.0.0.1:{port}/{CHAT}"}, name="chat")
    channel("email", {"recipients": "ops@example.com", "subject_prefix": ""}, name="mail")
    send = WebhookSender.send

    def send_or_break(self, messages):
        if b"broken" in self._url.target:
            raise RuntimeError(f"bad headers {self._headers} for {self._url}")
        return send(self, messages)

    def notify(self, **keywords):
        logging.getLogger("apprise").warning("Failed to post to /hooks/%s", self.token)
        return False

    with monkeypatch.context() as patched:
        patched.setattr(settings, "EMAIL_HOST_USER", "mailer")
        patched.setattr(settings, "EMAIL_HOST_PASSWORD", MAIL)
        patched.setattr(NotifyMattermost, "notify", notify)
        patched.setattr(WebhookSender, "send", send_or_break)
        patched.setattr(world.receiver, "answer", repeat)
        patched.setattr(world.mails, "login_answer", repeat_login)
        forget_to_mask(world)
        relay.number_all()
        deliver_all_due()
        try_out(world)


def repeat(request):
    """Answer with the path and the headers, as they are and encoded; with the status that the path names."""
    sent = [request.path, *request.headers.values()]
    said = [*sent, *map(json.dumps, sent), *(quote(each, safe="") for each in sent)]
    said += [b64encode(each.encode()).decode() for each in sent]
    status = request.path.rpartition("/")[2]
    # The first KiB is kept.
    return Answer(
        int(status) if status.isdigit() else 200, body="\n".join(each for each in said if len(each) < 150).encode()
    )


def repeat_login(sent):
    """Refuse a login with what was sent, as it is and decoded."""
    return b"535 no " + sent + b64decode(sent).replace(b"\0", b" ")


def forget_to_mask(world):
    """Something records an event with a token in its payload and in its subject."""
    (token,) = world.forgotten
    with transaction.atomic():
        for message, subject in ((f"with {token}", {}), ("It is a mask.", {"name": f"with {token}"})):
            payload = {"kind": "poison", "scope": "test", "count": 1, "message": message}
            outbox.record([NewEvent(event_type=EventType.INCIDENT_OPENED, payload=payload, subject=subject)])


def try_out(world):
    """Send a test on each channel, by each interface."""
    browser = signed_in()
    for stored in Channel.objects.exclude(name__startswith="redis"):
        world.answered(world.admin.post(f"/channels/{stored.pk}/test"))
        page = reverse("admin:events_channel_change", args=[stored.pk])
        world.answered(browser.post(page.replace("/change/", "/test")))
        world.answered(browser.get(page))
        run(world, "channel", "test", stored.name)
