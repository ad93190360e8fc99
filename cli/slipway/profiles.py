"""Which servers are known, and their keys: in the keyring of the operating system, or in a file of mode 0600."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keyring
import typer
from keyring.core import recommended
from keyring.errors import KeyringError

from slipway.errors import CommandFailed, ExitCode

_SERVICE = "slipway"
DEFAULT = "default"


@dataclass(frozen=True, kw_only=True)
class Server:
    """The address of a server, and the API key that it gets."""

    url: str
    key: str


def folder() -> Path:
    """Return the folder of profiles and keys: SLIPWAY_CONFIG_DIR, or the usual one of this operating system."""
    return Path(os.environ.get("SLIPWAY_CONFIG_DIR") or typer.get_app_dir("slipway"))


def known() -> dict[str, str]:
    """Return the addresses by the names of their profiles."""
    profiles = read("profiles.json").get("profiles", {})
    if not isinstance(profiles, dict):
        why = f"{folder() / 'profiles.json'} does not hold addresses by their names."
        raise CommandFailed(why, ExitCode.WRONG_ARGUMENT)
    return {str(name): str(url) for name, url in profiles.items()}


def current() -> str:
    """Return the name of the profile that is used unless another is asked for."""
    return str(read("profiles.json").get("current", DEFAULT))


def server_of(profile: str) -> Server:
    """Return the server to talk to. Raises CommandFailed if it is not known, or has no key.

    SLIPWAY_URL with SLIPWAY_KEY comes before all profiles: a saved key is only sent to the address it was saved for.
    """
    if url := os.environ.get("SLIPWAY_URL", ""):
        if key := os.environ.get("SLIPWAY_KEY", ""):
            return Server(url=url, key=clean_key(key))
        raise CommandFailed("SLIPWAY_URL is set, so SLIPWAY_KEY has to be, too.", ExitCode.NOT_ALLOWED)
    name = profile or current()
    url = known().get(name, "")
    if not known():
        raise CommandFailed("You are not signed in. Sign in with `slipway login URL`.", ExitCode.NOT_ALLOWED)
    if not url:
        there = f"Known profiles: {', '.join(known())}"
        why = f"There is no profile {name!r}. {there}. Sign in with `slipway --profile {name} login URL`."
        raise CommandFailed(why, ExitCode.NOT_ALLOWED)
    key = load_key(name, url)
    if not key:
        why = f"There is no key for the profile {name!r}. Sign in with `slipway --profile {name} login {url}`."
        raise CommandFailed(why, ExitCode.NOT_ALLOWED)
    return Server(url=url, key=clean_key(key))


def save(name: str, server: Server) -> str:
    """Keep a server as the current profile, and return where its key is kept."""
    place = store_key(name, server)
    write("profiles.json", {"current": name, "profiles": known() | {name: server.url}})
    return place


def use(name: str) -> None:
    """Make a profile the current one. Raises CommandFailed for an unknown one."""
    if name not in known():
        raise CommandFailed(f"There is no profile {name!r}.", ExitCode.NOT_FOUND)
    write("profiles.json", read("profiles.json") | {"current": name})


def forget(name: str) -> None:
    """Delete a profile and its key. Raises CommandFailed for an unknown one."""
    profiles = known()
    url = profiles.pop(name, None)
    if url is None:
        raise CommandFailed(f"There is no profile {name!r}.", ExitCode.NOT_FOUND)
    forget_key(name, url)
    write("profiles.json", {"current": current(), "profiles": profiles})


# --- Keys ------------------------------------------------------------------------------------------


def clean_key(text: str) -> str:
    """Return a key without white space around it. Raises CommandFailed for what can't be one, and never shows it."""
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise CommandFailed("An API key is one word of ASCII characters.", ExitCode.WRONG_ARGUMENT)
    return key


def store_key(name: str, server: Server) -> str:
    """Store a key and return where, in words. It is in one place only."""
    entry = entry_of(name, server.url)
    forget_key(name, known().get(name, server.url))
    if has_keyring():
        try:
            keyring.set_password(_SERVICE, entry, server.key)
        except KeyringError:
            pass
        else:
            return "the keyring"
    write("keys.json", read("keys.json") | {entry: server.key})
    return str(folder() / "keys.json")


def load_key(name: str, url: str) -> str:
    """Return the stored key, "" if there is none."""
    entry = entry_of(name, url)
    if key := read("keys.json").get(entry):
        return str(key)
    try:
        return (keyring.get_password(_SERVICE, entry) or "") if has_keyring() else ""
    except KeyringError as error:
        raise CommandFailed(f"The keyring gives no key: {error}", ExitCode.NOT_ALLOWED) from error


def forget_key(name: str, url: str) -> None:
    """Delete a key where it is stored."""
    entry, keys = entry_of(name, url), read("keys.json")
    if keys.pop(entry, None) is not None:
        write("keys.json", keys)
    try:
        if has_keyring() and keyring.get_password(_SERVICE, entry) is not None:
            keyring.delete_password(_SERVICE, entry)
    except KeyringError as error:
        raise CommandFailed(f"The keyring can't delete the key: {error}", ExitCode.NOT_ALLOWED) from error


def entry_of(name: str, url: str) -> str:
    """Return the name of a key. It has the address, so that a key is never sent to another server."""
    return f"{name} {url}"


def has_keyring() -> bool:
    """Return whether there is a keyring that protects what it keeps."""
    return bool(recommended(keyring.get_keyring()))


# --- Files -----------------------------------------------------------------------------------------


def read(name: str) -> dict[str, Any]:
    """Return what a file of ours holds, {} if there is none. Raises CommandFailed for one that can't be read."""
    path = folder() / name
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CommandFailed(f"{path} can't be read: {error}", ExitCode.WRONG_ARGUMENT) from error
    if not isinstance(value, dict):
        raise CommandFailed(f"{path} does not hold a JSON object.", ExitCode.WRONG_ARGUMENT)
    return value


def write(name: str, value: Mapping[str, Any]) -> None:
    """Replace a file of ours. Only its owner may read it, from the first moment. Raises CommandFailed if it can't."""
    path = folder() / name
    try:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp creates it with mode 0600.
        descriptor, new = tempfile.mkstemp(dir=folder(), prefix=f".{name}.")
        with os.fdopen(descriptor, "w") as file:
            json.dump(value, file, indent=2)
        Path(new).replace(path)
    except OSError as error:
        raise CommandFailed(f"{path} can't be written: {error}", ExitCode.WRONG_ARGUMENT) from error
