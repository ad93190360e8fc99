"""Stand-ins for chat services: each reads a message by its service's own rules and refuses what the service refuses."""

import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from urllib.parse import parse_qs

from apprise.manager_plugins import NotificationManager

from events.channels.base import Message
from tests.events.channels.receivers import Answer

NAME = "@channel <!here> *b* <http://evil|label>"
_SHOWN_AS_IT_IS = [
    '@everyone @here @all <@U123> <!channel> <users/all> @room <at user_id="all">x</at> @*group* @**all**',
    'File "a.py", line 3, in <module>\n    raise ValueError("a < b & c > d")',
    "[label](http://evil) ![x](http://evil/i.png) <http://evil|label> <a href='http://evil'>label</a>",
    "*b* _i_ ~s~ `c` ||spoiler|| ```\ncode\n``` \\*",
    "# heading\n> quote\n- item\n+ item\n===\n---",
    "&lt;b&gt; &amp; <b>unclosed <i> </u>",
    "\N{WOMAN}\u200d\N{PERSONAL COMPUTER} \u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
]
# Texts of agents, each with what people are shown of it.
HOSTILE = {each: each for each in _SHOWN_AS_IT_IS} | {
    "one\x00two\u202etfel\u200b\ud800 end": "onetwotfel? end",
}

_TELEGRAM_TAGS = {"b", "strong", "i", "em", "u", "s", "a", "code", "pre", "blockquote"}


class Refused(Exception):
    """The service answers 400."""


def named(message, name):
    return Message(id=message.id, event=replace(message.event, subject={"name": name, "runtime": "hermes"}))


@dataclass
class Shown:
    """A message as people see it: its text, who is notified, and what its markup made of it."""

    text: str
    pings: list[str]
    markup: list[str]


def plain(raw):
    return Shown(raw, re.findall(r"@\w+", raw), [])


def lark(raw):
    return Shown(raw, re.findall(r"<at [^>]*>|@\w+", raw), [])


def entities(raw):
    """Slack's and Google Chat's: angle brackets hold links, mentions and commands; three entities are decoded."""
    tokens = re.findall(r"<([^<>]*)>", raw)
    pings = [token for token in tokens if token[:1] in {"!", "@", "#"} or token.startswith("users/")]
    return Shown(html.unescape(raw), pings + re.findall(r"@\w+", raw), [each for each in tokens if "|" in each])


def telegram(raw):
    """Refuses a message with an unknown tag, as `can't parse entities` does."""
    text = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in _TELEGRAM_TAGS:
                raise Refused(f"can't parse entities: unsupported start tag {tag}")
            tags.append(tag)

        def handle_endtag(self, tag):
            if not tags or tags[-1] != tag:
                raise Refused(f"can't parse entities: unexpected end tag {tag}")

        def handle_data(self, data):
            text.append(data)

    tags = []
    Parser(convert_charrefs=True).feed(raw + "\n")
    shown = "".join(text)[:-1]
    return Shown(shown, re.findall(r"@\w+", shown), tags)


def markdown(raw):
    """Discord's, Mattermost's and their relatives': a backslash makes the next punctuation mark literal."""
    literal = re.sub(r"\\([!-/:-@\[-`{-~])", lambda found: chr(0xE000 + ord(found[1])), raw)
    markup = re.findall(
        r"\[[^\]]*\]\([^)]*\)|[*_~`|]+|(?m:^\s*(?:[#>+=-]))|<[^\s\u200b>]+>", literal.rpartition("\n")[0]
    )
    text = re.sub("[\ue000-\ue07f]", lambda found: chr(ord(found[0]) - 0xE000), literal)
    return Shown(text, re.findall(r"<[@#][^>]*>|@\*|@\w+", text), markup)


@dataclass(frozen=True)
class Service:
    """A service's Apprise URL, where Apprise finds it, where its text is, and its rules."""

    url: str
    text_of: Callable[[dict], str]
    read: Callable[[str], Shown]
    limit: int
    size: Callable[[str], int] = len
    # The attribute of the plugin that holds the service's address, and what follows the stub's.
    address: str = ""
    path: str = "/hook"
    has_title: bool = False
    # What it answers to a message that it accepts.
    accepts_with: bytes = b'{"ok": true, "id": 1, "url": "https://example.com/1"}'

    def shown(self, request):
        """Return what the service shows for a request. Raises Refused."""
        raw = self.text_of(_body(request))
        if self.size(raw) > self.limit:
            raise Refused(f"{self.size(raw)} is more than {self.limit}")
        return self.read(raw)

    def answer(self, request):
        """Answer as the service does: 400 if it refuses the message."""
        try:
            self.shown(request)
        except Refused as refused:
            return Answer(400, body=str(refused).encode())
        return Answer(body=self.accepts_with)

    def stand_in(self, receiver, monkeypatch):
        """Return the Apprise URL of a stub that the receiver plays from now on."""
        receiver.answer = self.answer
        if self.address:
            plugin = NotificationManager()[self.url.partition("://")[0]]
            monkeypatch.setattr(plugin, self.address, receiver.url.removesuffix("/hook") + self.path)
        return self.url.format(host=f"127.0.0.1:{receiver.server_address[1]}")


def _body(request):
    if request.body.startswith(b"{"):
        return json.loads(request.body)
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def _bytes(text):
    return len(text.encode())


def _utf_16(text):
    return len(text.encode("utf-16-le")) // 2


_TOKEN = "a" * 32
# The limits are those of the services' own documentation.
SERVICES = {
    "slack": Service(
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        lambda body: body["attachments"][0]["text"],
        entities,
        40_000,
        address="webhook_url",
        accepts_with=b"ok",
    ),
    "discord": Service(
        f"discord://4174216298/{_TOKEN}", lambda body: body["content"], markdown, 2000, address="notify_url"
    ),
    "tgram": Service(
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        lambda body: body["text"],
        telegram,
        4096,
        _utf_16,
        address="notify_url",
        path="/bot",
    ),
    "gchat": Service("gchat://workspace/key/token", lambda body: body["text"], entities, 4096, address="notify_url"),
    "mmost": Service(f"mmost://{{host}}/{_TOKEN}", lambda body: body["text"], markdown, 16_383),
    "rocket": Service(f"rocket://{'a' * 24}/{'b' * 43}@{{host}}/#room", lambda body: body["text"], markdown, 5000),
    "matrix": Service(f"matrix://{'c' * 64}@{{host}}?mode=matrix", lambda body: body["text"], plain, 65_000, _bytes),
    "feishu": Service(
        "feishu://abc123", lambda body: body["content"]["text"], lark, 20_000, _bytes, address="notify_url"
    ),
    "ntfy": Service("ntfy://{host}/topic", lambda body: body["message"], plain, 4096, _bytes, has_title=True),
    "pover": Service(
        f"pover://{'u' * 30}@{'a' * 30}",
        lambda body: body["message"],
        plain,
        1024,
        address="notify_url",
        has_title=True,
    ),
    "zulip": Service(
        f"zulip://bot@example/{_TOKEN}/#room",
        lambda body: body["content"],
        markdown,
        10_000,
        address="notify_url",
        has_title=True,
    ),
    "wxteams": Service(
        f"wxteams://{'a' * 80}", lambda body: body["markdown"], markdown, 7439, _bytes, address="notify_url"
    ),
    "mastodon": Service("mastodon://accesskey@{host}", lambda body: body["status"], plain, 500),
}
