"""The secrets of an env file: what it sets, and what it leaves blank, as example files do."""

from typing import NamedTuple

from workspaces.access import secrets
from workspaces.configuration.env_files import Problem, read_assignments, refuse

_SHOWN_NAMES = 20


class EnvSecrets(NamedTuple):
    """The secrets by name, and the names that the file leaves blank."""

    values: dict[str, str]
    not_set: list[str]

    @property
    def warnings(self) -> list[str]:
        """Return a sentence that lists what is not set, if there is anything."""
        if not self.not_set:
            return []
        listed = ", ".join(self.not_set[:_SHOWN_NAMES])
        more = f" and {len(self.not_set) - _SHOWN_NAMES} more" if len(self.not_set) > _SHOWN_NAMES else ""
        return [f"Not set, because the env file gives no value: {listed}{more}."]


def read_env_secrets(text: str) -> EnvSecrets:
    """Return the secrets of an env file; of equal names, the last. Raises BadAssignment with every problem."""
    assignments, problems = read_assignments(text)
    last = {each.name: each for each in assignments}
    for each in last.values():
        if each.value.strip() and (problem := secrets.problem_with(each.name, each.value)):
            problems.append(Problem(each.line, f"Line {each.line}: {problem}"))
    refuse(problems)
    return EnvSecrets(
        values={each.name: each.value for each in last.values() if each.value.strip()},
        not_set=[each.name for each in last.values() if not each.value.strip()],
    )
