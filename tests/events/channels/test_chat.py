"""Chats through Apprise, against a receiver that plays Mattermost."""

import ipaddress

import pytest

from events.channels.base import SendFailed
from events.channels.registry import kind_of
from tests.events.channels.chat_services import SERVICES
from tests.events.channels.factories import failure, form_errors, mattermost, sending
from tests.events.channels.receivers import Answer, receiving

pytestmark = pytest.mark.django_db


def test_a_chat_message_says_what_failed_why_since_when_and_links_to_it(receiver):
    with sending("chat", {"url": mattermost(receiver)}) as sender:
        failed = failure(error="Missing required environment variable OPENAI_API_KEY.", code="missing_env")
        sender.send([failed])
    text = SERVICES["mmost"].shown(receiver.received[0]).text
    assert "nightly failed (missing_env)" in text
    assert "Why: Missing required environment variable OPENAI_API_KEY." in text
    assert f"Since: {failed.event.created_at:%Y-%m-%d %H:%M}" in text
    assert f"https://slipway.example.com/admin/workspaces/workspace/{failed.event.workspace_id}/change/" in text


def test_a_failure_says_why_the_chat_refused_the_message(receiver):
    receiver.answer = lambda request: Answer(404)
    with sending("chat", {"url": mattermost(receiver)}) as sender, pytest.raises(SendFailed, match="404") as failed:
        sender.send([failure()])
    assert "3ccdd113474722377935511fc85d3dd4" not in str(failed.value)


def test_a_chat_on_a_private_address_is_refused():
    with receiving() as private, sending("chat", {"url": mattermost(private)}) as sender:
        with pytest.raises(SendFailed):
            sender.send([failure()])
        assert private.received == []


def test_a_chat_whose_name_can_t_be_resolved_now_is_a_temporary_failure():
    url = "mmost://does-not-exist.invalid/3ccdd113474722377935511fc85d3dd4"
    with sending("chat", {"url": url}) as sender, pytest.raises(SendFailed, match="can't be resolved") as failed:
        sender.send([failure()])
    assert not failed.value.is_permanent
    assert "3ccdd113474722377935511fc85d3dd4" not in str(failed.value)


def test_a_chat_s_redirect_to_a_private_address_is_refused(receiver, settings):
    settings.DELIVERY_ALLOW_PRIVATE = [ipaddress.ip_network("127.0.0.1/32")]
    with receiving() as private:
        port = private.server_address[1]
        receiver.answer = lambda request: Answer(307, {"Location": f"http://127.0.0.2:{port}/"})
        with sending("chat", {"url": mattermost(receiver)}) as sender, pytest.raises(SendFailed):
            sender.send([failure()])
        assert private.received == []


FORBIDDEN_PARAMETERS = [
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?template={file}",
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?Template={file}",
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?temp%6cate={file}",
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?template={file}",
    "workflows://host/workflow/signature/?template={file}",
    "tgram://123456789:abcdefg_hijklmnop/12315544/?template={file}",
    "mmost://host/3ccdd113474722377935511fc85d3dd4?include={file}",
    "ntfy://host/topic?attach=http://169.254.169.254/",
    "ntfy://host/topic?actions=http,x,http://169.254.169.254/",
    "gotify://host/token?nonsense=1",
]


@pytest.mark.parametrize("url", FORBIDDEN_PARAMETERS)
def test_parameters_that_read_a_file_or_another_url_are_refused_by_the_form_and_when_sending(url, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text('{"content": "s3cr3t"}')
    named = url.format(file=secret)
    assert "out of the URL" in form_errors("chat", url=named)["url"]
    with pytest.raises(SendFailed, match="out of the URL") as failed, sending("chat", {"url": named}):
        pass
    assert failed.value.is_permanent
    assert str(secret) not in str(failed.value)


@pytest.mark.parametrize("url", ["nonsense", "file:///etc/passwd", "syslog://", "json://example.com", "slack://short"])
def test_the_form_refuses_other_urls(url):
    assert form_errors("chat", url=url)["url"]


@pytest.mark.parametrize(
    "url",
    [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#general",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "mmosts://chat.example.com/3ccdd113474722377935511fc85d3dd4",
        "matrixs://user:secret@matrix.example.com/#room",
        "mmosts://chat.example.com/3ccdd113474722377935511fc85d3dd4?channel=ops&image=no&verify=no",
        "ntfy://ntfy.example.com/topic?priority=high",
    ],
)
def test_the_form_accepts_the_usual_services(url):
    form = kind_of("chat").form({"url": url})
    assert form.is_valid(), form.errors
