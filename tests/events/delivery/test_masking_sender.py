"""What a receiver says is kept and shown without the channel's secrets, however it spells them."""

import json
import logging
from base64 import b64decode, b64encode
from urllib.parse import quote

import pytest
from apprise.plugins.mattermost import NotifyMattermost
from cryptography.fernet import Fernet

from config.log_format import FieldsFormatter
from events.channels.base import Receipt, SendFailed
from events.channels.webhook.kind import WebhookSender
from events.delivery import channel_operations
from events.delivery.deliverer import deliver_all_due
from events.delivery.masking_sender import secrets_in
from events.models import Channel, Delivery, Event
from postgres.clock import database_now
from tests.events.channels.factories import channel, mattermost, signing_secret, webhook
from tests.events.channels.mail_server import mail_server
from tests.events.channels.receivers import Answer
from tests.events.conftest import online, publish

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "Kp7vQ2mZx9wL4tRb"
PASSWORD = 'h4rd"er&p/ss é'


def kept():
    """Return everything that is stored of deliveries and channels, and the events."""
    rows = [
        *Delivery.objects.values(),
        *Channel.objects.defer("sealed_options").values("last_error", "disabled_reason"),
    ]
    return repr([*rows, *Event.objects.values()])


def spellings(value):
    return [value, quote(value, safe=""), json.dumps(value), b64encode(value.encode()).decode()]


def echo(status):
    """Return an answer that repeats the request: its path, its headers, and those in other spellings."""

    def answer(request):
        said = [
            request.path,
            *(each for name in ("authorization", "x-key") for each in spellings(request.headers[name])),
        ]
        return Answer(status, body="\n".join(said).encode())

    return answer


@pytest.mark.parametrize("status", [200, 400, 410, 503])
def test_a_webhooks_receiver_that_repeats_the_request_reveals_nothing(receiver, status, caplog):
    login = b64encode(f"ops:{KEY[::-1]}".encode()).decode()
    stored = webhook(f"{receiver.url}/{KEY}", headers={"Authorization": f"Basic {login}", "X-Key": KEY})
    publish(online())
    receiver.answer = echo(status)
    answer = channel_operations.send_test(stored, now=database_now())
    deliver_all_due()
    assert receiver.received[-1].path.endswith(KEY)
    found = f"{kept()} {answer} {caplog.text}"
    for secret in (KEY, KEY[::-1], login):
        for spelling in spellings(secret):
            assert spelling.strip('"=') not in found
    assert "••••••" in Delivery.objects.get().history[0]["response"]
    assert f"HTTP {status}" in found


def test_a_receiver_that_repeats_the_signing_secret_without_its_prefix_reveals_nothing(receiver):
    stored = webhook(receiver.url)
    secret = signing_secret(stored).removeprefix("whsec_")
    receiver.answer = lambda request: Answer(500, body=f"{secret} {b64decode(secret).hex()}".encode())
    publish(online())
    deliver_all_due()
    assert secret not in kept()


def test_what_is_no_secret_stays_in_the_answer(receiver):
    webhook(receiver.url, headers={"Authorization": f"Bearer {KEY}"})
    receiver.answer = lambda request: Answer(422, body=b'{"error": "the hook wants a Bearer of 16 characters"}')
    publish(online())
    deliver_all_due()
    assert Delivery.objects.get().history[0]["response"] == '{"error": "the hook wants a Bearer of 16 characters"}'


@pytest.mark.parametrize("is_clear", [True, False])
def test_a_mail_server_that_repeats_the_login_reveals_nothing(settings, is_clear):
    with mail_server() as mails:
        mails.login_answer = lambda sent: b"535 no " + (b64decode(sent).replace(b"\0", b" ") if is_clear else sent)
        settings.EMAIL_URL = f"smtp://127.0.0.1:{mails.port}"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", mails.port
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "mailer", KEY
        stored = channel("email", {"recipients": "ops@example.com", "subject_prefix": ""})
        publish(online())
        deliver_all_due()
        found = f"{kept()} {channel_operations.send_test(stored, now=database_now())}"
    assert "The mail server answered 535." in found
    for spelling in (KEY, b64encode(f"\0mailer\0{KEY}".encode()).decode()):
        assert spelling not in found


def test_what_a_chats_library_logs_of_its_url_is_stored_masked_and_nowhere_in_the_log(receiver, monkeypatch, capfd):
    url = mattermost(receiver)
    token = url.rpartition("/")[2]

    def notify(self, **keywords):
        logging.getLogger("apprise").warning("Failed to post to /hooks/%s", token)
        return False

    monkeypatch.setattr(NotifyMattermost, "notify", notify)
    channel("chat", {"url": url})
    publish(online())
    deliver_all_due()
    assert "Failed to post to /hooks/••••••" in kept()
    assert token not in kept()
    assert token not in "".join(capfd.readouterr())


def test_no_part_of_a_token_in_a_chats_warnings_is_kept_wherever_it_stands(receiver, monkeypatch):
    url = mattermost(receiver)
    token = url.rpartition("/")[2]

    def notify(self, **keywords):
        for _ in range(2):
            logging.getLogger("apprise").warning("%s%s is wrong", "é" * 290, token)
        return False

    monkeypatch.setattr(NotifyMattermost, "notify", notify)
    channel("chat", {"url": url})
    publish(online())
    deliver_all_due()
    warning = f"{'é' * 290}•••••• is wrong"
    assert Delivery.objects.get().history[0]["error"] == f"{warning} {warning}"


def test_a_long_reason_is_cut_after_it_is_masked(receiver, monkeypatch):
    def send(sender, messages):
        raise SendFailed(f"{'é' * 991}{KEY} is wrong")

    monkeypatch.setattr(WebhookSender, "send", send)
    webhook(f"{receiver.url}/{KEY}")
    publish(online())
    deliver_all_due()
    assert Delivery.objects.get().history[0]["error"] == f"{'é' * 991}•••••• is"


def test_an_error_that_nobody_expected_is_logged_with_its_traceback_and_without_secrets(receiver, monkeypatch, caplog):
    caplog.handler.setFormatter(FieldsFormatter())

    def send(self, messages):
        raise RuntimeError(f"bad header {self._headers}")

    stored = webhook(receiver.url, headers={"Authorization": f"Bearer {KEY}"})
    monkeypatch.setattr(WebhookSender, "send", send)
    publish(online())
    deliver_all_due()
    answer = channel_operations.send_test(stored, now=database_now())
    assert "Slipway could not send the message: RuntimeError." in answer.answer
    assert Delivery.objects.get().history[0]["error"] == "Slipway could not send the message: RuntimeError."
    assert "RuntimeError: bad header {'Authorization': '••••••'" in caplog.text
    assert KEY not in caplog.text


def test_options_that_no_key_can_decrypt_fail_without_a_sender(receiver, settings):
    stored = webhook(receiver.url)
    settings.SECRETS_KEYS = [Fernet.generate_key().decode()]
    assert "can't be decrypted" in channel_operations.send_test(stored, now=database_now()).answer


@pytest.mark.parametrize(
    ("option", "secret"),
    [
        ("https://example.com/hooks/Kp7vQ2mZx9?sig=aB3dE5fG7", "Kp7vQ2mZx9"),
        ("https://example.com/hooks/Kp7vQ2mZx9?sig=aB3dE5fG7", "aB3dE5fG7"),
        ("slack://T1JJ3T3L2x/A1BRTD4JDx/TIiajkdnlazkcOXrIdevi7FQ", "TIiajkdnlazkcOXrIdevi7FQ"),
        ("tgram://123456789:abcdefg_hijklmnop/12315544", "123456789:abcdefg_hijklmnop"),
        ("rediss://:h4rd%2Fpass@redis.example.com:6379/0", "h4rd/pass"),
        (["a", {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8I"}], "MfKQ9r8GKYqrTwjUPD8I"),
    ],
)
def test_the_parts_of_an_option_that_are_secret_by_themselves_are_found(option, secret):
    assert secret in list(secrets_in(option))


def test_a_host_is_no_secret():
    found = list(secrets_in("https://chat.example.com:8443/hooks/Kp7vQ2mZx9"))
    assert not [each for each in found if each in ("chat.example.com", "chat.example.com:8443", "hooks")]


@pytest.mark.parametrize("url", ["https://example.com/services/notifications/T1", "http://example.com/webhooks"])
def test_ordinary_words_in_a_web_address_are_no_secrets(url):
    assert not {"services", "notifications", "webhooks"} & set(secrets_in(url))


@pytest.mark.parametrize("word", ["qwzxvbnmasdfghjk", "webhooks-7", "Webhooks"])
def test_other_words_in_a_web_address_are_masked(word):
    assert word in list(secrets_in(f"https://example.com/{word}"))


def test_the_words_in_the_path_of_a_chats_url_are_masked():
    assert "nightlyalerts" in list(secrets_in("ntfys://ntfy.example.com/nightlyalerts"))


def test_headers_that_hold_no_credential_are_no_secrets():
    headers = {"Accept": "text/plain", "Content-Type": "application/json", "user-agent": "Slipway/1", "X-Key": KEY}
    assert set(secrets_in({"headers": headers})) == {KEY}


@pytest.mark.parametrize(("password", "is_masked"), [("postgres", True), ("secret7", False)])
def test_a_configured_password_that_is_a_short_word_is_not_masked(receiver, settings, password, is_masked):
    settings.EMAIL_HOST_PASSWORD = password
    receiver.answer = lambda request: Answer(500, body=f"no {password} here".encode())
    webhook(receiver.url)
    publish(online())
    deliver_all_due()
    assert Delivery.objects.get().history[0]["response"] == ("no •••••• here" if is_masked else f"no {password} here")


@pytest.mark.parametrize("is_accepted", [True, False])
def test_what_the_database_refuses_in_an_answer_does_not_stop_the_channel(receiver, monkeypatch, is_accepted):
    def send(sender, messages):
        if is_accepted:
            return Receipt(answer="a\0\ud800b", response="\udfff")
        raise SendFailed("not \ud800now\0", answer="\ud800", is_gone=True)

    monkeypatch.setattr(WebhookSender, "send", send)
    webhook(receiver.url)
    publish(online())
    assert deliver_all_due() == int(is_accepted)
    (entry,) = Delivery.objects.get().history
    if is_accepted:
        assert (entry["answer"], entry["response"]) == ("a?b", "?")
    else:
        assert (entry["answer"], entry["error"]) == ("?", "not ?now")
        assert Channel.objects.get().last_error == "not ?now"
        assert "not ?now" in Channel.objects.get().disabled_reason
