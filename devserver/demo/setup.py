"""What `make demo` sets before Django loads: environment variables and a data folder of its own."""

import argparse
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devserver.local_environment import PROJECT, LocalSetupError

DEFAULT_FOLDER = PROJECT / ".data-demo"
DEFAULT_PORT = 8010
# One minute of the demo is ten minutes of a real fleet.
DEFAULT_SPEED = 10.0
# Only a folder with this file in it is emptied.
MARKER_FILE = "made-by-make-demo"
# Files that the folder's present owner has locked or read.
_KEPT = frozenset({"owner.lock", "members.lock", "owner.json", "secret_key", "secrets_keys", MARKER_FILE})
# The defaults of the settings, divided by the speed and rounded to whole seconds.
_DEFAULTS = {
    "HEARTBEAT_INTERVAL_SECONDS": 30,
    "HEARTBEAT_LIMIT_SECONDS": 180,
    "SWEEP_INTERVAL_SECONDS": 30,
    "WATCH_INTERVAL_SECONDS": 5,
    "TEARDOWN_GRACE_SECONDS": 600,
    "BRAKE_LONGEST_HOLD_SECONDS": 900,
}
_HEARTBEATS_WITHIN_LIMIT = 4


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """The options that are needed before Django loads."""

    port: int
    speed: float
    folder: Path


def parse_options(arguments: Sequence[str]) -> DemoOptions:
    """Return the options; the command itself reports other errors. Raises LocalSetupError."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    add_options(parser)
    try:
        found = parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise LocalSetupError(f"{error}.") from None
    if not 0 < found.port < 65536:
        raise LocalSetupError("The web port must be a whole number from 1 to 65535, as in `make demo PORT=8011`.")
    if not 1 <= found.speed <= 1000:
        raise LocalSetupError("The speed must be a number from 1 to 1000.")
    return DemoOptions(port=found.port, speed=found.speed, folder=found.folder.resolve())


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that are needed before Django loads."""
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="the web port (default: %(default)s)")
    parser.add_argument(
        "--speed",
        type=float,
        default=DEFAULT_SPEED,
        help="how many times faster than a real fleet (default: %(default)g)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=DEFAULT_FOLDER,
        help="the data folder, emptied at each start (default: .data-demo)",
    )


def set_environment(options: DemoOptions) -> None:
    """Set the demo's variables and unset those of a real Slipway, so that its database and mail server are not used."""
    for name in re.findall(r"^([A-Z_]+)=$", (PROJECT / ".env.example").read_text(), re.MULTILINE):
        os.environ.pop(name, None)
    os.environ.update(settings_for_speed(options.speed))
    os.environ.update(
        DATA_DIR=str(options.folder),
        PLATFORM_URL=f"http://127.0.0.1:{options.port}",
        PROVISIONER="simulated",
        ALLOW_SIMULATOR="true",
        LOG_LEVEL="WARNING",
    )


def settings_for_speed(speed: float) -> Mapping[str, str]:
    """Return the intervals and limits, divided by the speed."""
    seconds = {name: max(1, round(value / speed)) for name, value in _DEFAULTS.items()}
    least = _HEARTBEATS_WITHIN_LIMIT * seconds["HEARTBEAT_INTERVAL_SECONDS"]
    seconds["HEARTBEAT_LIMIT_SECONDS"] = max(seconds["HEARTBEAT_LIMIT_SECONDS"], least)
    return {name: str(value) for name, value in seconds.items()}


def prepare_folder(folder: Path) -> None:
    """Create the folder if needed. Raises LocalSetupError if it can't, or if it holds what a demo did not create."""
    try:
        if folder.exists() and any(folder.iterdir()) and not (folder / MARKER_FILE).exists():
            raise LocalSetupError(
                f"{folder} holds files that a demo did not create, and a demo empties its folder: choose another one."
            )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / MARKER_FILE).touch()
    except OSError as error:
        raise LocalSetupError(f"The folder {folder} can't be used: {error.strerror}. Choose another one.") from None


def empty_folder(folder: Path) -> None:
    """Delete what an earlier demo left, except the files that this process uses as the folder's owner."""
    for path in folder.iterdir():
        if path.name in _KEPT:
            continue
        # Remove symlinks, never their targets.
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
