"""The runtimes that Slipway has heard of, so that a misspelt one is noticed before its launch."""

import logging
from difflib import get_close_matches

from agent import rules
from workspaces.configuration import catalog
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.configuration.parser import CheckedConfig
from workspaces.deadlines.policy import BOOT_LIMITS

logger = logging.getLogger(__name__)

# Of the public workspace templates, github.com/Molecule-AI/molecule-core.
_PUBLIC = frozenset(
    ["autogen", "claude-code", "crewai", "deepagents", "gemini-cli", "hermes", rules.DEFAULT_RUNTIME, "openclaw"]
)


def known_runtimes() -> set[str]:
    """Return the public runtimes, those with a boot limit of their own, and those of the catalog's templates."""
    return {*_PUBLIC, *BOOT_LIMITS, *catalog.list_runtimes()}


def unknown_runtime(checked: CheckedConfig, *, requested: str) -> list[Diagnostic]:
    """Return a warning if nobody has heard of the runtime. `requested` is what a request names instead, or "".

    A name that resembles no known one is somebody's own runtime if the config says which command runs it.
    """
    name = requested or rules.runtime_of(checked.config)
    # The runtimes of the catalog's templates are known.
    if checked.root is None or name in _PUBLIC or (checked.template and not requested):
        return []
    try:
        known = known_runtimes()
    except OSError:
        # Nobody who names a runtime needs the catalog.
        logger.exception("The catalog's folders can't be read, so no runtime is called unknown")
        return []
    near = get_close_matches(name, known, n=1, cutoff=0.75)
    if name in known or (rules.command_of(checked.config) and not near):
        return []
    message = f"The runtime {rules.display_key(name)} is not known."
    hint = f"Did you mean {near[0]}?" if near else f"Known ones are {', '.join(sorted(known))}."
    return [checked.diagnostic("unknown_runtime", message, path="runtime", hint=hint, texts=(name,))]
