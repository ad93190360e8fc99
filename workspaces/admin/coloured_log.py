"""Shows the colours of a log as HTML. Everything else in it is text."""

from collections.abc import Iterator

from django.utils.html import escape, format_html
from django.utils.safestring import SafeString

from events.masking.terminal_lines import COLOUR

# ECMA-48 and the bright colours of aixterm: what a code sets, by kind, to a class or to nothing.
_SETTINGS: dict[int, dict[str, str]] = {
    **{code: {name: f"ansi-{name}"} for code, name in ((1, "bold"), (2, "dim"), (3, "italic"), (4, "underline"))},
    **{code: {"colour": f"ansi-{code}"} for code in (*range(30, 38), *range(90, 98))},
    22: {"bold": "", "dim": ""},
    23: {"italic": ""},
    24: {"underline": ""},
    39: {"colour": ""},
}
_RESET, _EXTENDED, _EXTENDED_BACKGROUND, _TRUE_COLOUR = 0, 38, 48, 2


def coloured_html(text: str) -> SafeString:
    """Return the text escaped, with a span for each part that has colours: only classes, no styles."""
    parts, end = [], 0
    style: dict[str, str] = {}
    for sequence in COLOUR.finditer(text):
        parts.append((" ".join(filter(None, style.values())), text[end : sequence.start()]))
        style = style_after(style, [int(code[-3:] or 0) for code in sequence[0][2:-1].split(";")])
        end = sequence.end()
    parts.append((" ".join(filter(None, style.values())), text[end:]))
    spans = [
        format_html('<span class="{}">{}</span>', *each) if each[0] else escape(each[1]) for each in parts if each[1]
    ]
    return SafeString("".join(spans))


def style_after(style: dict[str, str], codes: list[int]) -> dict[str, str]:
    """Return the classes, by kind, that hold after a sequence with these codes."""
    left = iter(codes)
    for code in left:
        setting = _SETTINGS.get(code, {})
        if code in (_EXTENDED, _EXTENDED_BACKGROUND):
            colour = extended_colour(left)
            setting = {"colour": colour} if code == _EXTENDED else {}
        style = {} if code == _RESET else {**style, **setting}
    return style


def extended_colour(codes: Iterator[int]) -> str:
    """Return the class of one of 256 colours, and pass over its numbers; nothing but for the first 16."""
    kind, number = next(codes, 0), next(codes, 0)
    if kind == _TRUE_COLOUR:
        next(codes, 0)
        next(codes, 0)
    names = [*range(30, 38), *range(90, 98)]
    return f"ansi-{names[number]}" if kind != _TRUE_COLOUR and number < len(names) else ""
