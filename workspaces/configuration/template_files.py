"""The files beside a template's config.yaml, such as its prompts. Every launch gets a copy of them."""

import os
from collections.abc import Iterator
from pathlib import Path

from workspaces.configuration.parser import BadConfig
from workspaces.provisioners.files import describe_error, read_bounded

MAX_FILES = 100
# Of all files together. They are stored with the launch and written at each start.
MAX_BYTES = 1024 * 1024
CONFIG_FILE = "config.yaml"
# What a launch writes beside its config.yaml.
WRITTEN_BY_SLIPWAY = frozenset({"config.json", ".auth_token"})
LEFT_OUT = frozenset({".git", "__pycache__"})


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the content of each file by its path in the folder, subfolders included and config.yaml excluded.

    A link to a file in the folder counts as that file. Raises BadConfig for anything else that is not a regular file,
    and for more than MAX_FILES files or MAX_BYTES bytes.
    """
    files: dict[str, bytes] = {}
    size = 0
    for path in paths_in(folder):
        name = path.relative_to(folder).as_posix()
        if name == CONFIG_FILE:
            continue
        files[name] = read_file(path, folder=folder, name=name)
        size += len(files[name])
        if size > MAX_BYTES:
            raise BadConfig(f"The template's files are larger than {MAX_BYTES // 1024} KiB in all.")
    return files


def paths_in(folder: Path) -> Iterator[Path]:
    """Yield what is in the folder and its subfolders, but no folders. Raises BadConfig if that is too much."""
    number = 0

    def refuse(error: OSError) -> None:
        raise BadConfig(f"The template's folder can't be read: {describe_error(error)}.") from error

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        number += len(names) + len(folders)
        # One more, which is config.yaml.
        if number > MAX_FILES + 1:
            raise BadConfig(f"The template's folder has more than {MAX_FILES} files and folders beside config.yaml.")
        yield from (Path(root, name) for name in sorted(names))
        yield from (Path(root, name) for name in folders if Path(root, name).is_symlink())


def read_file(path: Path, *, folder: Path, name: str) -> bytes:
    """Return the content of a file, with at most one byte more than MAX_BYTES. Raises BadConfig."""
    shown = ascii(name)[1:-1]
    if name in WRITTEN_BY_SLIPWAY:
        raise BadConfig(f"The template's file {shown} has a name that Slipway writes itself. Rename it.")
    try:
        name.encode()
        # Read the target of a link, so that a link which is changed meanwhile is not followed.
        target = Path(os.path.realpath(path, strict=True))
        if not target.is_relative_to(folder.resolve()):
            raise BadConfig(f"The template's file {shown} is a link that leads out of its folder.")
        content = read_bounded(target, MAX_BYTES + 1)
    except UnicodeEncodeError as error:
        raise BadConfig(f"The template's file {shown} has a name that is not UTF-8.") from error
    except OSError as error:
        raise BadConfig(f"The template's file {shown} can't be read: {error.strerror}.") from error
    if content is None:
        raise BadConfig(f"The template's file {shown} was deleted meanwhile.")
    return content
