"""Values of variables that are probably not meant: placeholders of example files, and stray characters around a value.

Findings name the variable and never repeat the value, which may be a secret.
"""

import re
from collections.abc import Iterator, Mapping

from agent import rules
from agent.texts import INVISIBLE
from workspaces.configuration.diagnostics import ENV_FILE, SUSPICIOUS_VALUE, Diagnostic

# No placeholder is longer, and keys of several lines are not read through.
_LONGEST_PLACEHOLDER = 100
_PLACEHOLDER = re.compile(
    r"change[-_ ]?(me|this|it)|replace[-_ ]?(me|this|it)|placeholder|dummy|todo|tbd|fixme"
    r"|your[-_ ].*|.*[-_ ]here|insert[-_ ].*"
    r"|<.*>|\[your.*\]|\{\{.*\}\}|\$\{?[a-z_]\w*\}?"
    r"|([a-z]{1,10}[-_])*(x{3,}|\*{3,}|\.{3,}|…)"
    r"|.*(\.{3}|…)",
    re.IGNORECASE,
)
_QUOTES = ("'", '"')


def suspicious_values(environment: Mapping[str, str], *, lines: Mapping[str, int]) -> Iterator[Diagnostic]:
    """Yield a warning for each reason to doubt a value. Empty values are not judged.

    `lines` are those of the variables that an env file gives.
    """
    for name, value in environment.items():
        for why, hint in doubts(name, value):
            shown, line = rules.display_key(name), lines.get(name)
            yield Diagnostic(
                code=SUSPICIOUS_VALUE,
                message=f"The value of {shown} {why}.",
                path=f"{ENV_FILE if line else 'secrets'}.{shown}",
                line=line,
                column=1 if line else None,
                hint=hint,
            )


def doubts(name: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield a clause that follows "The value of NAME" and a sentence that says what to do."""
    inner = value.strip()
    if not inner:
        return
    is_one_line = len(inner.splitlines()) == 1
    # A key file of several lines ends with a line break.
    if inner != value and is_one_line:
        yield "begins or ends with white space", "Remove it, unless it belongs to the value."
    if is_one_line and INVISIBLE.search(value):
        yield "holds invisible characters", "Copy it again, or type it."
    if len(inner) > 1 and inner[0] in _QUOTES and inner[0] == inner[-1]:
        yield "is in quotes, which belong to the value here", "Remove them, unless they are meant."
        inner = inner[1:-1].strip()
    if len(inner) <= _LONGEST_PLACEHOLDER and (inner == name or _PLACEHOLDER.fullmatch(inner)):
        yield "looks like a placeholder", "Put in the real one."
