"""The program behind `manage.py`: prepares what a command needs before Django loads, and prints errors as messages."""

import argparse
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType

from django.core.management import execute_from_command_line

from devserver.demo import setup
from devserver.error_messages import exit_with_message
from devserver.local_environment import (
    LocalSetupError,
    complete_environment,
    needs_embedded_servers,
    read_dotenv,
    set_placeholder_settings,
)
from devserver.ownership import Role
from devserver.servers.embedded import LOCALHOST

# These commands look at the code only.
_GENERATED_PAGES = {"lifecycle_diagram", "operations_page", "event_catalogue", "config_schema"}
_OFFLINE = {"help", "version", "collectstatic", "findstatic", "diffsettings"} | _GENERATED_PAGES
_ONLINE_WITH = {"check": "--database", "preflight": "--here"}
DEFAULT_PORT = 8000


def main() -> None:
    """Run the command line; exit with 1 and one message if the machine, not the code, is at fault."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    with exit_with_message():
        run(sys.argv)


def run(arguments: Sequence[str]) -> None:
    """Run one command with all that it needs."""
    read_dotenv()
    # The message is made while the servers still run: it may depend on what the database says.
    with environment_for_command(arguments), exit_with_message():
        execute_from_command_line(list(arguments))


def environment_for_command(arguments: Sequence[str]) -> AbstractContextManager[None]:
    """Return the context in which a command has its servers, keys and addresses."""
    if is_offline(arguments):
        # With both URLs set this is production, where a missing key must be reported.
        if needs_embedded_servers():
            set_placeholder_settings()
        return nullcontext()
    match arguments[1]:
        case "up":
            port = up_port(arguments)
            if os.environ.get("PLATFORM_URL"):
                return _environment_for_server(port, command="make up")
            # Where people and workspaces that are launched here reach the platform.
            os.environ["PLATFORM_URL"] = f"http://{LOCALHOST}:{port}"
            return _environment_for_server(port, command="make up", prepare=set_registry_url)
        case "demo":
            options = setup.parse_options(arguments[2:])
            setup.prepare_folder(options.folder)
            setup.set_environment(options)
            prepare = partial(setup.empty_folder, options.folder)
            return _environment_for_server(options.port, command="make demo", prepare=prepare)
        case command if needs_embedded_servers():
            _exit_cleanly_on_signals()
            return complete_environment(role=Role.COMMAND, command=f"manage.py {command}")
    return nullcontext()


def set_registry_url() -> None:
    """Give the registry a free port, and the same one at the next start, since workspaces may outlive this one."""
    if os.environ.get("REGISTRY_URL"):
        return
    file = Path(os.environ["DATA_DIR"]) / "registry_port"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, int(file.read_text())))
        except (OSError, ValueError, OverflowError):
            probe.bind((LOCALHOST, 0))
        port = probe.getsockname()[1]
    file.write_text(str(port))
    os.environ["REGISTRY_URL"] = f"http://{LOCALHOST}:{port}"


def _environment_for_server(
    port: int, *, command: str, prepare: Callable[[], None] = lambda: None
) -> AbstractContextManager[None]:
    def before_start() -> None:
        refuse_taken_port(port, command=command)
        prepare()

    _exit_cleanly_on_signals()
    address = f"http://{LOCALHOST}:{port}/admin/"
    return complete_environment(role=Role.UP, command=command, address=address, before_start=before_start)


def is_offline(arguments: Sequence[str]) -> bool:
    """Return whether the command uses neither database nor Redis."""
    command, options = arguments[1:2], set(arguments[1:])
    if not command or command[0] in _OFFLINE or options & {"--help", "-h", "--version"}:
        return True
    # Two commands ask for them with an option.
    return command[0] in _ONLINE_WITH and not any(option.startswith(_ONLINE_WITH[command[0]]) for option in options)


def up_port(arguments: Sequence[str]) -> int:
    """Return the web port of `up`; the command itself reports other errors. Raises LocalSetupError."""
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    try:
        port = int(parser.parse_known_args(arguments[2:])[0].port)
    except argparse.ArgumentError:
        port = 0
    if not 0 < port < 65536:
        raise LocalSetupError("The web port must be a whole number from 1 to 65535, as in `make up PORT=8001`.")
    return port


def refuse_taken_port(port: int, *, command: str) -> None:
    """Raise LocalSetupError if the web port is taken."""
    with socket.socket() as probe:
        # Connections of the last run in TIME_WAIT don't block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
        except PermissionError:
            raise LocalSetupError(
                f"Port {port} is reserved for root: choose another, as in `{command} PORT=8001`."
            ) from None
        except OSError:
            other = port + 1 if port < 65535 else DEFAULT_PORT
            raise LocalSetupError(
                f"Port {port} is in use by another program: choose another with `{command} PORT={other}`."
            ) from None


def _exit_cleanly_on_signals() -> None:
    # By default these signals end the process at once, and its servers would keep running.
    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
