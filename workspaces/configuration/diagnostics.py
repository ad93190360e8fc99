"""What is wrong or suspicious in a configuration: one shape for the API, the admin, the command and failed launches."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from typing_extensions import TypedDict

from agent import rules
from events.masking.masker import Masker

MOST_DIAGNOSTICS = 100
_MASKED_CHARACTERS = 1000
ENV_FILE = "env_file"
SUSPICIOUS_VALUE = "suspicious_value"
_OF_VARIABLES = frozenset({"bad_env_file", "not_set", SUSPICIOUS_VALUE})
_OF_SECRETS = frozenset({"secret_unreadable", SUSPICIOUS_VALUE})


class DiagnosticOut(TypedDict):
    """One finding. `path`, `line` and `column` say where in config.yaml; `secrets.NAME` is a variable.

    `template`, `model`, `runtime` and `secret_sets` without a line are those of the request. With the path `env_file`
    or `env_file.NAME` it is about a line of the env file.
    """

    code: str
    path: str
    line: int | None
    column: int | None
    message: str
    hint: str


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """One finding. `code` is stable, `message` and `hint` are sentences, of which `hint` says what to do.

    `path` is the key in config.yaml. What stands elsewhere has the path `secrets.NAME`, `template`, `secret_sets`, or
    `model` or `runtime` (those of a request), or, in an env file, `env_file` or `env_file.NAME`. `line` and `column`
    count from 1; both are None for what stands in no line. `texts` are those of the config that `path`, `message` and
    `hint` may have shortened, whole; they are never shown.
    """

    code: str
    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None
    hint: str = ""
    texts: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def as_json(self) -> DiagnosticOut:
        """Return what is shown and stored of it, as a dict of JSON's values."""
        return {
            "code": self.code,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
        }

    @property
    def is_of_secret(self) -> bool:
        """Return whether it is about a stored secret. Such a finding has the secret's name and never its value.

        A config may have the key `secrets`, too.
        """
        return self.code in _OF_SECRETS and self.path.startswith("secrets.")

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


def findings_without_values(found: Sequence[Diagnostic], masker: Masker) -> list[Diagnostic]:
    """Return the findings without the secret values that a config may repeat: its texts are masked, then shortened.

    Those about stored secrets stay as they are: a mask could hide the name of the variable.
    """
    of_config = [each for each in found if not each.is_of_secret]
    # What is shown whole is masked where it is shown.
    shortened = [[part for part in map(masked_part, each.texts) if rules.shorten(part) != part] for each in of_config]
    parts = masks_of(chain.from_iterable(shortened), masker)
    rows = []
    for each, own in zip(of_config, shortened, strict=True):
        shown = {rules.shorten(text): rules.shorten(parts[text]) for text in own}
        rows.append([with_masks(text, shown) for text in (each.path, each.message, each.hint)])
    masks = masks_of(chain.from_iterable(rows), masker)
    masked = iter(
        replace(each, path=masks[path], message=masks[message], hint=masks[hint], texts=())
        for each, (path, message, hint) in zip(of_config, rows, strict=True)
    )
    return [each if each.is_of_secret else next(masked) for each in found]


def masked_part(text: str) -> str:
    """Return what is masked of a text: more than findings show of it, since a secret may go on there.

    The masker recognises the beginning of a longer secret at the end of it.
    """
    return rules.shorten(rules.with_escapes(text), most_characters=_MASKED_CHARACTERS)


def with_masks(text: str, shown: Mapping[str, str]) -> str:
    """Return the text with each of the beginnings replaced, in one pass: a mask may hold what another stands for."""
    beginnings = re.compile("|".join(map(re.escape, shown)))
    return beginnings.sub(lambda match: shown[match.group()], text) if shown else text


def masks_of(texts: Iterable[str], masker: Masker) -> dict[str, str]:
    """Return each text with what is secret in it masked."""
    each_once = list(dict.fromkeys(texts))
    return dict(zip(each_once, masker.mask_all(each_once), strict=True))


def without_findings_of_secrets(warnings: Iterable[Any]) -> list[Any]:
    """Return those of a launch's warnings that people may read who may not see which secrets there are."""
    return [each for each in warnings if each["code"] != SUSPICIOUS_VALUE]
