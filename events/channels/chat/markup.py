"""How each chat service reads text, and messages written so that it shows them as they are.

Names, errors and logs come from agents and configurations, so they are data: none of their characters may format, link
or mention. Apprise would send a text with mentions, and one that the service refuses for its length or its tags.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from events.channels.notification import Notification

_ELLIPSIS = "…"
# Follows a character that would begin a mention or a tag. People don't see it.
_BREAK = "\u200b"


@dataclass(frozen=True, kw_only=True)
class Markup:
    """A service's rules for text.

    `escapes`: what to write in place of a character. `line_starts`: characters that get a backslash if a line begins
    with them. `apprise_format`: the format in which Apprise passes text on unchanged. `has_title`: whether messages
    have a title of their own, in plain text. `counts_bytes`: whether the limit is in bytes of UTF-8 and not in UTF-16
    units. `most`: the service's own limit where Apprise's is higher.
    """

    escapes: Mapping[str, str]
    line_starts: str = ""
    apprise_format: str = "text"
    has_title: bool = False
    counts_bytes: bool = False
    most: int = 2**31

    def size(self, text: str) -> int:
        """Return how much of the service's limit the text takes."""
        return len(text.encode()) if self.counts_bytes else len(text.encode("utf-16-le")) // 2

    def escape(self, text: str, *, limit: int) -> str:
        """Return the text as the service has to be sent it, with an ellipsis for what is beyond the limit."""
        written: list[str] = []
        left, begins_line = limit, True
        for character in text:
            piece = self.escapes.get(character, character)
            if begins_line and character in self.line_starts:
                piece = "\\" + piece
            begins_line = character == "\n" or (begins_line and character.isspace())
            written.append(piece)
            left -= self.size(piece)
            if left < 0:
                left -= self.size(_ELLIPSIS)
                while written and left < 0:
                    left += self.size(written.pop())
                return "".join(written) + _ELLIPSIS
        return "".join(written)


_PLAIN = {"@": "@" + _BREAK}
_TAGS = {**_PLAIN, "<": "<" + _BREAK}
_ENTITIES = {**_PLAIN, "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_MARKDOWN = {**_TAGS, **{character: "\\" + character for character in "\\`*_[]~|"}}
_MARKDOWN_LINES = "#>-+="

_TEXT = Markup(escapes=_PLAIN)
_TITLED_TEXT = Markup(escapes=_PLAIN, has_title=True)
_LARK = Markup(escapes=_TAGS, counts_bytes=True)
_COMMONMARK = Markup(escapes=_MARKDOWN, line_starts=_MARKDOWN_LINES, apprise_format="markdown")
_DISCORD = Markup(escapes=_MARKDOWN, line_starts=_MARKDOWN_LINES)
# Apprise sends a longer one as a file, because its JSON, which escapes all but ASCII, has more than 8000 bytes.
_NTFY = Markup(escapes=_PLAIN, has_title=True, counts_bytes=True, most=2400)

# Services that people read, by the name in their Apprise URL. Apprise supports others that write files or run programs
# on this host.
MARKUPS: Mapping[str, Markup] = {
    "slack": Markup(escapes=_ENTITIES),
    "workflows": _COMMONMARK,
    "discord": _DISCORD,
    "tgram": Markup(escapes=_ENTITIES, apprise_format="html"),
    "matrix": _TEXT,
    "matrixs": _TEXT,
    "mmost": _DISCORD,
    "mmosts": _DISCORD,
    "rocket": _COMMONMARK,
    "rockets": _COMMONMARK,
    "gchat": Markup(escapes=_ENTITIES, apprise_format="markdown"),
    "ntfy": _NTFY,
    "ntfys": _NTFY,
    "pagerduty": _TEXT,
    "opsgenie": _TITLED_TEXT,
    "pover": _TITLED_TEXT,
    "zulip": Markup(escapes=_MARKDOWN, line_starts=_MARKDOWN_LINES, has_title=True),
    "wxteams": Markup(escapes=_MARKDOWN, line_starts=_MARKDOWN_LINES, apprise_format="markdown", counts_bytes=True),
    "gotify": _TITLED_TEXT,
    "gotifys": _TITLED_TEXT,
    "signal": _TEXT,
    "signals": _TEXT,
    "ryver": _DISCORD,
    # Apprise escapes FlockML itself.
    "flock": _TEXT,
    "guilded": _DISCORD,
    "feishu": _LARK,
    "lark": _LARK,
    "dingtalk": Markup(escapes=_PLAIN, counts_bytes=True),
    "twist": _COMMONMARK,
    "mastodon": _TEXT,
}


def written(notification: Notification, *, markup: Markup, title_limit: int, body_limit: int) -> tuple[str, str]:
    """Return the title and body to send. Both are within their limits, and the body ends with the link."""
    lines = [f"{name}: {text}" for name, text in notification.facts]
    title = ""
    if markup.has_title:
        title = Markup(escapes=_PLAIN).escape(notification.title, limit=title_limit)
    else:
        lines.insert(0, notification.title)
    end = "\n" + notification.link
    limit = min(body_limit, markup.most) - markup.size(end)
    return title, markup.escape("\n".join(lines), limit=limit) + end
