"""Preflight: whether a workspace can start at all, asked before anything is launched. Every problem at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent import rules
from workspaces.access import secrets
from workspaces.configuration import catalog
from workspaces.configuration.parser import BadConfig, parse_config
from workspaces.lifecycle.transitions import FailureCode
from workspaces.models import Workspace


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What passed: the effective config, and the workspace's own environment (global secrets < its own)."""

    config: dict[str, Any]
    environment: Mapping[str, str]

    @property
    def runtime(self) -> str:
        return rules.runtime_of(self.config)

    @property
    def provision_timeout_seconds(self) -> int | None:
        return rules.provision_timeout_seconds(self.config)

    @property
    def stall_timeout_seconds(self) -> int | None:
        return rules.stall_timeout_seconds(self.config)


class PreflightFailed(Exception):
    """The workspace can't start; the message says why and what to do."""

    def __init__(self, code: FailureCode, message: str, *, missing: list[str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.missing = missing or []


def preflight(workspace: Workspace) -> Prepared:
    """Read the effective config.yaml and assemble the environment. Raises PreflightFailed; launches nothing."""
    config = _config(workspace)
    environment = _environment(workspace)
    model = rules.picked_model(config, workspace.model or None)
    missing = rules.missing(config, environment, model)
    if missing:
        raise PreflightFailed(
            FailureCode.MISSING_ENV, rules.missing_message(missing), missing=rules.missing_names(missing)
        )
    return Prepared(config=config, environment=environment)


def _config(workspace: Workspace) -> dict[str, Any]:
    try:
        return parse_config(workspace.config or catalog.read_config_text(workspace.template))
    except (BadConfig, catalog.UnknownTemplate) as error:
        raise PreflightFailed(
            FailureCode.BAD_CONFIG, f"{error} Correct the {_place(workspace)}, then restart."
        ) from error


def _place(workspace: Workspace) -> str:
    return "workspace's config.yaml" if workspace.config else f"template {workspace.template}"


def _environment(workspace: Workspace) -> dict[str, str]:
    try:
        return secrets.read_environment(workspace.pk)
    except secrets.SecretUnreadable as error:
        raise PreflightFailed(FailureCode.SECRET_UNREADABLE, str(error)) from error
