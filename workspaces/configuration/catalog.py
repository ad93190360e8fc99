"""The templates that an operator can launch: folders with a config.yaml in one of CATALOG_DIRS."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from agent import rules
from agent.texts import mend_line
from workspaces.configuration import template_files
from workspaces.configuration.diagnostics import Diagnostic
from workspaces.configuration.parser import MAX_CONFIG_BYTES, BadConfig, parse_config
from workspaces.configuration.template_files import CONFIG_FILE
from workspaces.provisioners.files import read_bounded

logger = logging.getLogger(__name__)


class UnknownTemplate(ValueError):
    """The catalog has no template with this name."""

    def __init__(self, name: str) -> None:
        folders, unreadable = _folders()
        known = ", ".join(sorted(map(mend_line, folders))) or "none"
        more = f" These folders of the catalog can't be read: {', '.join(map(str, unreadable))}." if unreadable else ""
        super().__init__(f"There is no template {name[:80]!r} in the catalog. Known templates: {known}.{more}")


@dataclass(frozen=True, kw_only=True)
class Template:
    """A template as GET /templates shows it. `problem` says why it can't be used, if so, and `findings` whole.

    Both may repeat secrets: show what listed_templates.py has.
    """

    id: str
    name: str
    runtime: str
    provision_timeout_seconds: int | None
    required_env: list[str]
    provision_timeout_override: bool = False
    problem: str = ""
    findings: tuple[Diagnostic, ...] = field(default=(), compare=False, repr=False)


class _Folders(NamedTuple):
    """The folder of each template by the template's name, and the folders of the catalog that can't be read."""

    templates: dict[str, Path]
    unreadable: list[Path]


def list_templates() -> list[Template]:
    """Return every template, ordered by name; of two with one name, the one of the earlier folder."""
    folders, unreadable = _folders()
    return [read_template(folder, unreadable) for _, folder in sorted(folders.items())]


def list_runtimes() -> frozenset[str]:
    """Return the runtimes of the templates. They are read again only after a config.yaml has changed.

    Raises OSError if a folder of the catalog can't be read.
    """
    folders, unreadable = _folders()
    if unreadable:
        raise OSError(f"These folders of the catalog can't be read: {', '.join(map(str, unreadable))}.")
    return runtimes_of(tuple((folder, stamp(folder / CONFIG_FILE)) for _, folder in sorted(folders.items())))


@lru_cache(maxsize=1)
def runtimes_of(stamped_folders: tuple[tuple[Path, tuple[int, ...]], ...]) -> frozenset[str]:
    """Return the runtimes of these templates."""
    templates = [read_template(folder) for folder, _ in stamped_folders]
    return frozenset(each.runtime for each in templates if each.runtime)


def stamp(path: Path) -> tuple[int, ...]:
    """Return what changes whenever the file does."""
    try:
        seen = path.stat()
    except OSError:
        return ()
    return (seen.st_dev, seen.st_ino, seen.st_size, seen.st_ctime_ns)


def read_template(folder: Path, unreadable: Sequence[Path] = ()) -> Template:
    """Return the template in a folder; one that can't be read has a `problem`, whatever it is.

    `unreadable` are the folders of the catalog that can't be read.
    """
    name = folder.name
    try:
        check_earlier(folder, unreadable)
        text, _ = read_folder(folder)
        config = parse_config(text)
        return Template(
            id=name,
            name=mend_line(str(config.get("name") or "")) or name,
            runtime=rules.runtime_of(config),
            provision_timeout_seconds=rules.provision_timeout_seconds(config),
            provision_timeout_override=rules.provision_timeout_override(config),
            required_env=rules.missing_names(rules.required_env(config, rules.picked_model(config))),
        )
    except BadConfig as error:
        bad = error
    except Exception as error:
        # One bad template must not hide the others.
        logger.exception("A template can't be read", extra={"template": name})
        bad = BadConfig(f"It can't be read ({type(error).__name__}); see the log.")
    shown = mend_line(name) or "unnamed"
    return Template(
        id=shown,
        name=shown,
        runtime="",
        provision_timeout_seconds=None,
        required_env=[],
        problem=str(bad),
        findings=tuple(bad.problems),
    )


def read(name: str) -> tuple[str, Mapping[str, bytes]]:
    """Return the text of the template's config.yaml and its other files by path, as they are now.

    Raises UnknownTemplate, or BadConfig if it can't be read.
    """
    folders, unreadable = _folders()
    folder = folders.get(name)
    if folder is None:
        raise UnknownTemplate(name)
    check_earlier(folder, unreadable)
    return read_folder(folder)


def check_earlier(folder: Path, unreadable: Sequence[Path]) -> None:
    """Raise BadConfig if the template may not be the one that is meant: a folder before its own can't be read."""
    roots = settings.CATALOG_DIRS
    earlier = [root for root in unreadable if roots.index(root) < roots.index(folder.parent)]
    if earlier:
        raise BadConfig(
            f"An earlier folder of the catalog may have a template {mend_line(folder.name)}, too, but can't be read: "
            f"{earlier[-1]}. Let Slipway read it, or take it out of CATALOG_DIRS."
        )


def read_folder(folder: Path) -> tuple[str, Mapping[str, bytes]]:
    """Return what `read` does, given the template's folder. Raises BadConfig; see also template_files.py."""
    if mend_line(folder.name) != folder.name:
        raise BadConfig("The name of the template's folder holds characters that can't be seen.")
    try:
        # One byte more than allowed is enough for `parse_config` to refuse a file that is too large.
        content = read_bounded(Path(os.path.realpath(folder / CONFIG_FILE, strict=True)), MAX_CONFIG_BYTES + 1)
        text = (content or b"").decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"The template's {CONFIG_FILE} can't be read: {error}") from error
    return text, template_files.read_files(folder)


def _folders() -> _Folders:
    """Return the folders of the catalog. One that can't be read hides no other, and is logged."""
    found = _Folders({}, [])
    for root in reversed(settings.CATALOG_DIRS):
        try:
            # Broken links too: a template that can't be read is listed as one.
            entries = [folder for folder in root.iterdir() if os.path.lexists(folder / CONFIG_FILE)]
        except (FileNotFoundError, NotADirectoryError):
            # The system check names it.
            continue
        except OSError as error:
            logger.warning("A folder of the catalog can't be read", extra={"folder": root, "detail": str(error)})
            found.unreadable.append(root)
        else:
            found.templates.update({folder.name: folder for folder in entries})
    return found
