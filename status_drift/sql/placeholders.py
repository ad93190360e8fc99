"""SQL texts with placeholders: `%s` and `%(name)s`, `{}` and `{name}`, the expressions of an f-string."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from string import Formatter

DML_WORDS = ("select", "insert", "update", "delete", "merge", "values", "with")
_PERCENT = re.compile(r"%(?:(?P<escaped>%)|[sbtdr]|\((?P<name>[^)]*)\)s)")


@dataclass(frozen=True)
class Placeholder:
    """A part of a text that is known only at run time.

    `text` is what is known of it after all, as SQL. If `is_composed`, it is an object of psycopg.sql, whose SQL is
    judged where it is written.
    """

    name: str = ""
    text: str = ""
    is_composed: bool = False


Part = str | Placeholder
# Returns what fills a placeholder: a name, or a number counted from 0. None if that isn't known.
Filler = Callable[[str | int], Placeholder | None]


@dataclass(frozen=True)
class Template:
    """A text that an expression may stand for, and the first and last lines of the expressions that it comes from."""

    parts: tuple[Part, ...]
    spans: tuple[tuple[int, int], ...] = field(default=())

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else " ? " for part in self.parts)

    @property
    def has_text(self) -> bool:
        """Return whether any of it is written in the code."""
        return any(isinstance(part, str) and part.strip() for part in self.parts)

    @property
    def is_unknown(self) -> bool:
        """Return whether none of it is written anywhere."""
        placeholders = [part for part in self.parts if isinstance(part, Placeholder)]
        return not self.has_text and any(not one.text and not one.is_composed for one in placeholders)

    @property
    def has_dml_word(self) -> bool:
        words = self.text.casefold().split()
        return len(words) > 1 and any(word.strip("(") in DML_WORDS for word in words)

    @property
    def is_filled_dml(self) -> bool:
        """Return whether it begins as DML and is put together where it is written."""
        words = self.parts[0].casefold().split() if isinstance(self.parts[0], str) else []
        is_filled = any(isinstance(part, Placeholder) for part in self.parts)
        return is_filled and bool(words) and words[0].strip("(") in DML_WORDS


def fill_braces(parts: Sequence[Part], filler: Filler) -> tuple[Part, ...]:
    """Return the parts with the fields of `.format` as placeholders. Raises ValueError if the braces don't match."""
    found: list[Part] = []
    place = 0
    for part in parts:
        if isinstance(part, Placeholder):
            found.append(part)
            continue
        for text, name, _, _ in Formatter().parse(part):
            found.append(text)
            if name is not None:
                found.append(filler(int(name) if name.isdigit() else name or place) or Placeholder(name=name))
                place += not name
    return tuple(found)


def fill_percents(parts: Sequence[Part], filler: Filler) -> tuple[Part, ...]:
    """Return the parts with `%s` and `%(name)s` as placeholders and `%%` as a percent sign."""
    found: list[Part] = []
    place = 0
    for part in parts:
        if isinstance(part, Placeholder):
            found.append(part)
            continue
        end = 0
        for match in _PERCENT.finditer(part):
            found.append(part[end : match.start()] + ("%" if match["escaped"] else ""))
            end = match.end()
            if not match["escaped"]:
                found.append(filler(match["name"] or place) or Placeholder(name=match["name"] or ""))
                place += not match["name"]
        found.append(part[end:])
    return tuple(found)
