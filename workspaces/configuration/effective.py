"""The effective configuration of a workspace: what its next launch runs with."""

import base64
import hashlib
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from workspaces.configuration import catalog
from workspaces.configuration.parser import CheckedConfig, check_config
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


def check_effective(configuration: EffectiveConfiguration) -> CheckedConfig:
    """Return the checked config, which also warns of prompt files that are not there. Raises BadConfig."""
    checked = check_config(configuration.text)
    prompt_files = checked.config.get("prompt_files") or []
    missing = [name for name in prompt_files if posixpath.normpath(name) not in configuration.files]
    if not missing:
        return checked
    named = ", ".join(ascii(name[:80]) for name in missing[:10])
    warning = f"prompt_files: these files are not beside config.yaml, so the workspace does not get them: {named}."
    return CheckedConfig(config=checked.config, warnings=[*checked.warnings, warning])


def store(configuration: EffectiveConfiguration) -> Configuration:
    """Return the row of this configuration, new if there is none."""
    files = {name: base64.b64encode(content).decode() for name, content in configuration.files.items()}
    row = Configuration(digest=configuration.digest, text=configuration.text, files=files)
    Configuration.objects.bulk_create([row], ignore_conflicts=True)
    return row
