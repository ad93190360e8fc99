"""E-mail against a real mail server."""

from dataclasses import replace
from email import message_from_bytes, policy
from html.parser import HTMLParser

import pytest

from events.channels.base import Message, SendFailed
from tests.events.channels.chat_services import HOSTILE, NAME, named
from tests.events.channels.factories import failure, form_errors, sending
from tests.events.channels.mail_server import mail_server


class Tags(HTMLParser):
    """Collects the tags and the links of a page."""

    def __init__(self):
        super().__init__()
        self.seen, self.links = set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.links += [value for name, value in attrs if name == "href"]


pytestmark = pytest.mark.django_db


@pytest.fixture
def mails(settings):
    with mail_server() as server:
        settings.EMAIL_URL = f"smtp://127.0.0.1:{server.port}"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
        settings.EMAIL_HOST_USER = settings.EMAIL_HOST_PASSWORD = ""
        yield server


def test_an_e_mail_has_text_and_html(mails, loopback_allowed):
    with sending("email", {"recipients": "ops@example.com\noncall@example.com", "subject_prefix": "[S]"}) as sender:
        sender.send([failure(error="<b>It broke</b>\nbadly.")])
    mail = message_from_bytes(mails.mails[0], policy=policy.default)
    assert mail["Subject"] == "[S] nightly failed (crashed)"
    assert mail["To"] == "ops@example.com, oncall@example.com"
    text, html = (part.get_content() for part in mail.iter_parts())
    assert "<b>It broke</b>\nbadly." in text.replace("\r\n", "\n")
    assert "&lt;b&gt;It broke&lt;/b&gt;" in html
    assert "https://slipway.example.com/admin/workspaces/workspace/" in html


def test_a_line_end_in_a_name_does_not_add_a_header(mails, loopback_allowed):
    event = replace(failure().event, subject={"name": "x\r\nBcc: evil@example.com"})
    evil = Message(id="1", event=event)
    with sending("email", {"recipients": "ops@example.com", "subject_prefix": ""}) as sender:
        sender.send([evil])
    mail = message_from_bytes(mails.mails[0], policy=policy.default)
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("x Bcc: evil@example.com failed")


@pytest.mark.parametrize(("error", "readable"), [*HOSTILE.items(), ("x" * 60_000, "x" * 1500 + "…")])
def test_hostile_text_is_shown_as_it_is_in_text_and_html(mails, loopback_allowed, error, readable):
    failed = named(failure(error=error), NAME + "\n" + "long " * 200)
    with sending("email", {"recipients": "ops@example.com", "subject_prefix": "[S]"}) as sender:
        sender.send([failed])
    mail = message_from_bytes(mails.mails[0], policy=policy.default)
    assert len(mail["Subject"]) <= 200
    text, html = (part.get_content().replace("\r\n", "\n") for part in mail.iter_parts())
    assert f"Why: {readable}\n" in text
    assert len(text) < 2000
    parser = Tags()
    parser.feed(html)
    assert parser.seen == {"html", "body", "h1", "table", "tr", "th", "td", "p", "a"}
    assert parser.links == [text.strip().rpartition("\n")[2]]


@pytest.mark.parametrize(("answer", "is_permanent"), [(b"550 unknown", True), (b"450 later", False)])
def test_a_recipient_refused_with_5xx_is_a_permanent_failure(mails, answer, is_permanent):
    mails.answer = answer
    options = {"recipients": "ops@example.com", "subject_prefix": ""}
    with sending("email", options) as sender, pytest.raises(SendFailed, match=answer[:3].decode()) as failed:
        sender.send([failure()])
    assert failed.value.is_permanent is is_permanent


@pytest.mark.parametrize(
    ("recipients", "reason"),
    [
        ("", "required"),
        ("nonsense", "nonsense is not"),
        ("\n".join(f"a{n}@example.com" for n in range(51)), "at most 50"),
    ],
)
def test_the_form_names_what_is_wrong(mails, recipients, reason):
    assert reason in form_errors("email", recipients=recipients)["recipients"]


def test_the_form_says_that_no_mail_server_is_set(settings):
    settings.EMAIL_URL = ""
    assert "EMAIL_URL" in form_errors("email", recipients="ops@example.com")["recipients"]
