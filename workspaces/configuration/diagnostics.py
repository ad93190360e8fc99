"""What is wrong or suspicious in a configuration: one shape for the API, the admin, the command and failed launches."""

from collections.abc import Iterable
from dataclasses import dataclass

MOST_DIAGNOSTICS = 100


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One finding. `code` is stable, `message` and `hint` are sentences, of which `hint` says what to do.

    `path` is the key in config.yaml, or `secrets.NAME` or `template` for what stands elsewhere. `line` and `column`
    count from 1; both are None for what stands in no line.
    """

    code: str
    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None
    hint: str = ""

    def __str__(self) -> str:
        sentence = f"{self.message} {self.hint}".strip()
        if self.line is None:
            return sentence
        return f"{sentence.removesuffix('.')} (line {self.line}, column {self.column})."


def in_order(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the findings in the order of their lines, each once."""
    return sorted(dict.fromkeys(found), key=lambda each: (each.line or 0, each.column or 0))


def bounded(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the findings in the order of their lines, each once, as they are shown.

    At most MOST_DIAGNOSTICS, with a last one that says how many were left out, so call it once, with all of them.
    """
    unique = in_order(found)
    if len(unique) <= MOST_DIAGNOSTICS:
        return unique
    more = len(unique) - MOST_DIAGNOSTICS + 1
    return [*unique[: MOST_DIAGNOSTICS - 1], Diagnostic(code="more", message=f"And {more} more.")]
