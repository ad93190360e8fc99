"""The secrets that a request gives: one by one, and as an env file, which may leave some blank, as example files do."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent import rules
from workspaces.access import secrets
from workspaces.configuration.diagnostics import ENV_FILE, Diagnostic
from workspaces.configuration.env_files import Problem, join_problems, read_assignments, refuse

_SHOWN_NAMES = 20


@dataclass(frozen=True, kw_only=True)
class EnvSecrets:
    """The secrets of an env file by name, their lines, the names that it leaves blank, and what is wrong with it."""

    values: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    not_set: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class GivenSecrets:
    """The secrets of a request by name, and what is wrong with them or probably not meant.

    `lines` are those of the secrets that its env file gives; one that is given by itself wins.
    """

    values: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)
    env_file_problem: str = ""
    problems: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)


def given_secrets(own: Mapping[str, str], *, env_file: str = "") -> GivenSecrets:
    """Return the secrets that a request gives one by one and in an env file. Raises nothing."""
    from_file = inspect_env_secrets(env_file)
    values = {**from_file.values, **own}
    problems = [
        Diagnostic(code="bad_secret", message=problem, path=f"secrets.{rules.display_key(name)}")
        for name, value in own.items()
        if (problem := secrets.problem_with(name, value))
    ]
    if len(values) > secrets.MAX_SECRETS:
        message = f"These are {len(values)} secrets. A workspace can have {secrets.MAX_SECRETS}."
        problems.insert(0, Diagnostic(code="bad_secret", message=message, path="secrets"))
    wrong_lines = [
        Diagnostic(code="bad_env_file", message=each.message, path=ENV_FILE, line=each.line, column=1)
        for each in from_file.problems
    ]
    return GivenSecrets(
        values=values,
        lines={name: line for name, line in from_file.lines.items() if name not in own},
        env_file_problem=join_problems(from_file.problems),
        problems=[*problems, *wrong_lines],
        warnings=blank_values(from_file.not_set),
    )


def blank_values(names: list[str]) -> list[Diagnostic]:
    """Return a warning that lists the names that an env file leaves blank, if there are any."""
    if not names:
        return []
    more = f" and {len(names) - _SHOWN_NAMES} more" if len(names) > _SHOWN_NAMES else ""
    listed = ", ".join(names[:_SHOWN_NAMES])
    message = f"Not set, because the env file gives no value: {listed}{more}."
    return [Diagnostic(code="not_set", message=message, path=ENV_FILE)]


def read_env_secrets(text: str) -> EnvSecrets:
    """Return the secrets of an env file; of equal names, the last. Raises BadAssignment with every problem."""
    found = inspect_env_secrets(text)
    refuse(found.problems)
    return found


def inspect_env_secrets(text: str) -> EnvSecrets:
    """Return the secrets of an env file, of equal names the last, and what is wrong with it. Raises nothing."""
    assignments, problems = read_assignments(text)
    last = {each.name: each for each in assignments}
    filled = [each for each in last.values() if each.value.strip()]
    for each in filled:
        if problem := secrets.problem_with(each.name, each.value):
            problems.append(Problem(each.line, f"Line {each.line}: {problem}"))
    return EnvSecrets(
        values={each.name: each.value for each in filled},
        lines={each.name: each.line for each in filled},
        not_set=[each.name for each in last.values() if not each.value.strip()],
        problems=problems,
    )
