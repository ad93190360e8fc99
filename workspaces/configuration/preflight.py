"""Preflight: check before a launch whether a workspace can start, and report every problem at once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent import rules
from workspaces.access import secrets
from workspaces.configuration import catalog
from workspaces.configuration.effective import EffectiveConfiguration, check_effective, effective_configuration
from workspaces.configuration.parser import BadConfig, CheckedConfig
from workspaces.deadlines.explanation import ignored_limit
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The effective config, and the environment from secrets: global ones, overridden by the workspace's own."""

    config: dict[str, Any]
    environment: Mapping[str, str]
    # What `config` was parsed from.
    source: EffectiveConfiguration

    @property
    def runtime(self) -> str:
        return rules.runtime_of(self.config)

    @property
    def provision_timeout_seconds(self) -> int | None:
        return rules.provision_timeout_seconds(self.config)

    @property
    def provision_timeout_override(self) -> bool:
        return rules.provision_timeout_override(self.config)

    @property
    def stall_timeout_seconds(self) -> int | None:
        return rules.stall_timeout_seconds(self.config)


class PreflightFailed(Exception):
    """The workspace can't start; the message says why and what to do. `missing` names missing variables.

    `source` is its configuration, if that is valid.
    """

    def __init__(
        self,
        code: FailureCode,
        message: str,
        *,
        missing: list[str] | None = None,
        source: EffectiveConfiguration | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.missing = missing or []
        self.source = source


def warnings_of(checked: CheckedConfig) -> list[str]:
    """Return sentences about what is probably not meant in a config: in its text, and in its boot limit."""
    ignored = ignored_limit(
        runtime=rules.runtime_of(checked.config),
        template_seconds=rules.provision_timeout_seconds(checked.config),
        template_overrides=rules.provision_timeout_override(checked.config),
    )
    return [*checked.warnings, *([ignored] if ignored else [])]


def preflight(workspace: Workspace) -> Prepared:
    """Read the effective config.yaml and the environment; start nothing. Raises PreflightFailed.

    The config was valid when the workspace was created, but its template and its secrets may have changed since. The
    launch uses what is parsed here; nothing parses the text again.
    """
    try:
        effective = effective_configuration(workspace)
        checked = check_effective(effective)
        environment = secrets.read_environment(workspace.pk)
    except (BadConfig, catalog.UnknownTemplate) as error:
        place = "workspace's config.yaml" if workspace.config else f"template {workspace.template}"
        raise PreflightFailed(FailureCode.BAD_CONFIG, f"{error} Correct the {place}, then restart.") from error
    except secrets.SecretUnreadable as error:
        raise PreflightFailed(FailureCode.SECRET_UNREADABLE, str(error), source=effective) from error
    config = checked.config
    for warning in warnings_of(checked):
        logger.warning("A configuration probably isn't meant", extra={"workspace_id": workspace.pk, "why": warning})
    missing = rules.missing(config, environment, workspace.model or None)
    if missing:
        names = rules.missing_names(missing)
        message = rules.missing_message(missing, rules.matched_entry(config, workspace.model or None))
        raise PreflightFailed(FailureCode.MISSING_ENV, message, missing=names, source=effective)
    return Prepared(config=config, environment=environment, source=effective)
