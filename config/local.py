"""What `manage.py` does before Django loads: complete the environment of a machine that has no servers set up."""

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import environ
from cryptography.fernet import Fernet

from config.embedded import Server, secret_file, start_postgres, start_redis

PROJECT = Path(__file__).resolve().parent.parent


def read_dotenv() -> None:
    """Read `.env` in the project's root, where there is one; what the environment says wins."""
    if (PROJECT / ".env").exists():
        environ.Env.read_env(PROJECT / ".env")


def data_dir() -> Path:
    """Return the folder of local data, made readable for us alone."""
    folder = Path(os.environ.get("DATA_DIR") or PROJECT / ".data").resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.environ["DATA_DIR"] = str(folder)
    return folder


def needs_servers() -> bool:
    """Tell whether an embedded server has to stand in for one that nobody named."""
    return not (os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"))


def set_keys(folder: Path) -> None:
    """Set the keys that are unset from files in the folder, made on the first run."""
    if not os.environ.get("SECRET_KEY"):
        os.environ["SECRET_KEY"] = secret_file(folder / "secret_key", make=lambda: secrets.token_urlsafe(48))
    if not os.environ.get("SECRETS_KEYS"):
        os.environ["SECRETS_KEYS"] = secret_file(folder / "secrets_keys", make=lambda: Fernet.generate_key().decode())


@contextmanager
def local_servers(folder: Path) -> Iterator[list[Server]]:
    """Run the servers that nobody named for as long as the block lasts."""
    with ExitStack() as stack:
        servers = []
        for variable, name, start in (
            ("REDIS_URL", "redis", start_redis),
            ("DATABASE_URL", "postgres", start_postgres),
        ):
            if not os.environ.get(variable):
                server = start(folder / name)
                stack.callback(server.stop)
                os.environ[variable] = server.url
                servers.append(server)
        yield servers


def run(arguments: Sequence[str]) -> None:
    """Run one `manage.py` command with all that it needs."""
    read_dotenv()
    with ExitStack() as stack:
        if needs_servers():
            folder = data_dir()
            set_keys(folder)
            stack.enter_context(local_servers(folder))
        from django.core.management import execute_from_command_line

        execute_from_command_line(list(arguments))


def main() -> None:
    """Serve as the program of `manage.py`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    run(sys.argv)
