"""The effective configuration of a workspace: what its next launch runs with."""

import base64
import hashlib
import posixpath
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace

from agent import rules
from workspaces.configuration import catalog
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.configuration.parser import BadConfig, CheckedConfig, inspect_config
from workspaces.models import Configuration, Workspace


@dataclass(frozen=True, kw_only=True)
class EffectiveConfiguration:
    """The text of a config.yaml and, by path, the files beside it."""

    text: str
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all of it, in hexadecimal."""
        digest = hashlib.sha256()
        for name, content in [("", self.text.encode()), *sorted(self.files.items())]:
            for part in (name.encode(), content):
                digest.update(b"%d:%b" % (len(part), part))
        return digest.hexdigest()


def effective_configuration(workspace: Workspace) -> EffectiveConfiguration:
    """Return the configuration that the workspace is kept at, its pasted one, or its template's as it is now.

    Raises UnknownTemplate or BadConfig. Nothing is parsed.
    """
    if kept := workspace.kept_configuration:
        kept_files = {name: base64.b64decode(content) for name, content in kept.files.items()}
        return EffectiveConfiguration(text=kept.text, files=kept_files)
    if workspace.config:
        return EffectiveConfiguration(text=workspace.config)
    text, files = catalog.read(workspace.template)
    return EffectiveConfiguration(text=text, files=files)


def inspect_effective(configuration: EffectiveConfiguration) -> CheckedConfig:
    """Return the config with every problem; it also warns of prompt files that are not there. Raises nothing."""
    return warn_of_missing_files(inspect_config(configuration.text), configuration.files)


def inspect_source(*, template: str, config: str | None) -> CheckedConfig:
    """Return a pasted config, or a template's if that is None, with every problem. Raises nothing."""
    try:
        text, files = catalog.read(template) if config is None else (config, {})
    except (BadConfig, catalog.UnknownTemplate) as error:
        return unreadable(error)
    checked = inspect_effective(EffectiveConfiguration(text=text, files=files))
    return checked if config is not None else replace(checked, template=template)


def unreadable(error: BadConfig | catalog.UnknownTemplate) -> CheckedConfig:
    """Return an empty config with the reason why it can't be read at all."""
    if isinstance(error, BadConfig):
        return CheckedConfig(config={}, problems=error.problems)
    return CheckedConfig(config={}, problems=[Diagnostic(code="unknown_template", message=str(error), path="template")])


def warn_of_missing_files(checked: CheckedConfig, files: Container[str]) -> CheckedConfig:
    """Return the config with a warning of its prompt files that are not among the files beside it."""
    prompt_files = checked.config.get("prompt_files")
    names = prompt_files if isinstance(prompt_files, list) else []
    missing = [name for name in names if isinstance(name, str) and posixpath.normpath(name) not in files]
    if not missing:
        return checked
    shown = [ascii(name) for name in missing[:10]]
    named = ", ".join(map(rules.shorten, shown))
    message = f"prompt_files: these files are not beside config.yaml, so the workspace does not get them: {named}."
    warning = checked.diagnostic("missing_file", message, path="prompt_files", texts=tuple(shown))
    return replace(checked, warnings=[*checked.warnings, warning])


def store(configuration: EffectiveConfiguration) -> Configuration:
    """Return the row of this configuration, new if there is none."""
    files = {name: base64.b64encode(content).decode() for name, content in configuration.files.items()}
    row = Configuration(digest=configuration.digest, text=configuration.text, files=files)
    Configuration.objects.bulk_create([row], ignore_conflicts=True)
    return row
