"""What is wrong or suspicious in a configuration: one shape for the API, the admin, the command and failed launches."""

from collections.abc import Iterable
from dataclasses import dataclass

MOST_DIAGNOSTICS = 100
ENV_FILE = "env_file"
_OF_VARIABLES = frozenset({"bad_env_file", "not_set", "suspicious_value"})


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One finding. `code` is stable, `message` and `hint` are sentences, of which `hint` says what to do.

    `path` is the key in config.yaml. What stands elsewhere has the path `secrets.NAME`, `template`, or, in an env file,
    `env_file` or `env_file.NAME`. `line` and `column` count from 1; both are None for what stands in no line.
    """

    code: str
    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None
    hint: str = ""

    @property
    def is_in_env_file(self) -> bool:
        """Return whether its line is one of the env file, not of config.yaml, which may have a key of that name."""
        return self.code in _OF_VARIABLES and self.path.partition(".")[0] == ENV_FILE

    def __str__(self) -> str:
        sentence = f"{self.message} {self.hint}".strip()
        if self.line is None or self.is_in_env_file:
            return sentence
        return f"{sentence.removesuffix('.')} (line {self.line}, column {self.column})."


def in_order(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the findings in the order of their lines, those of an env file last, each once."""
    return sorted(dict.fromkeys(found), key=lambda each: (each.is_in_env_file, each.line or 0, each.column or 0))


def bounded(found: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the findings in the order of their lines, each once, as they are shown.

    At most MOST_DIAGNOSTICS, with a last one that says how many were left out, so call it once, with all of them.
    """
    unique = in_order(found)
    if len(unique) <= MOST_DIAGNOSTICS:
        return unique
    more = len(unique) - MOST_DIAGNOSTICS + 1
    return [*unique[: MOST_DIAGNOSTICS - 1], Diagnostic(code="more", message=f"And {more} more.")]
