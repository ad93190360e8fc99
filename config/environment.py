"""Reads single variables for `settings.py`. A bad value stops the start with a message that names the variable.

ADR 20 says why these functions check values instead of django-environ's casts.
"""

import ipaddress
import os
import re
from collections.abc import Sequence
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

MAIL_SCHEMES = ("smtp", "smtp+tls", "smtp+ssl", "consolemail", "filemail")
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_YEAR_SECONDS = 31_536_000
# A prefix of paths. No segment is empty, since `//host` would be another host.
PREFIX = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/?", re.ASCII)


def read_environment() -> environ.Env:
    """Return a reader of the environment in which empty variables count as unset."""
    env = environ.Env()
    env.ENVIRON = {name: value for name, value in os.environ.items() if value.strip()}
    return env


def text(env: environ.Env, name: str, *, default: str = "") -> str:
    """Return the text of a variable as it stands, without the white space around it."""
    # `env.str` would take a value that begins with `$` for the name of another variable.
    return str(env.ENVIRON.get(name, "")).strip() or default


def required(env: environ.Env, name: str) -> str:
    """Return the text of a variable that must be set."""
    value = text(env, name)
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set. Set it in the environment (see .env.example), "
            "or use manage.py and make, which start embedded servers and create local keys."
        )
    return value


def integer(env: environ.Env, name: str, *, default: int, least: int, most: int) -> int:
    """Return a whole number between two bounds."""
    value = text(env, name)
    if not value:
        return default
    if not (value.isascii() and value.isdigit()) or not least <= int(value) <= most:
        raise ImproperlyConfigured(f"{name}={value} can't be used: give a whole number from {least} to {most}.")
    return int(value)


def seconds(env: environ.Env, name: str, *, default: int) -> int:
    """Return a whole number of seconds, from one second to one year."""
    return integer(env, name, default=default, least=1, most=_YEAR_SECONDS)


def optional_seconds(env: environ.Env, name: str) -> int | None:
    """Return a whole number of seconds, or None if the variable is unset."""
    return seconds(env, name, default=0) or None


def flag(env: environ.Env, name: str, *, default: bool) -> bool:
    """Return a yes or no."""
    value = text(env, name).lower()
    if not value:
        return default
    if value not in _FLAGS:
        raise ImproperlyConfigured(f"{name}={value} is neither yes nor no: give one of {', '.join(_FLAGS)}.")
    return _FLAGS[value]


def choice(env: environ.Env, name: str, *, default: str, among: Sequence[str]) -> str:
    """Return one of the allowed values."""
    value = text(env, name, default=default)
    if value not in among:
        raise ImproperlyConfigured(f"{name}={value} is unknown: give one of {', '.join(among)}.")
    return value


def time_zone(env: environ.Env, name: str, *, default: str) -> str:
    """Return the name of a time zone that this host and Postgres know."""
    value = text(env, name, default=default)
    if value not in available_timezones():
        raise ImproperlyConfigured(f"{name}={value} is no time zone: give a name such as UTC or Europe/Berlin.")
    return value


def url(env: environ.Env, name: str, *, schemes: Sequence[str], default: str = "") -> str:
    """Return a URL with one of these schemes. The message leaves the URL out, since it may hold a password."""
    value = text(env, name, default=default) or required(env, name)
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in schemes and (bool(parts.hostname) or parts.scheme == "unix")
        # A port that is not a number raises only when it is read.
        is_usable = is_usable and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ImproperlyConfigured(f"{name} is not a usable address: it must look like {schemes[0]}://host:port.")
    return value


def optional_url(env: environ.Env, name: str, *, schemes: Sequence[str]) -> str:
    """Return a URL with one of these schemes, or an empty string if the variable is unset."""
    value = text(env, name)
    if value and urlsplit(value).scheme not in schemes:
        raise ImproperlyConfigured(
            f"{name} is not a usable address: it must begin with one of {', '.join(schemes)}, then ://."
        )
    return value


def trusted_proxies(
    env: environ.Env, name: str, *, default: int
) -> int | list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return how many proxies stand in front, or the networks that they are in."""
    value = text(env, name)
    if not value or value.isdecimal():
        return integer(env, name, default=default, least=0, most=20)
    return cidr_list(env, name)


def path_prefix(env: environ.Env, name: str, *, default: str) -> str:
    """Return the prefix of all paths, such as `/slipway`, or an empty string for none."""
    value = text(env, name, default=default).rstrip("/")
    if value and not PREFIX.fullmatch(value):
        raise ImproperlyConfigured(
            f"{name}={value} is not a prefix of paths: give one such as /slipway, of letters, digits and - . _ ~."
        )
    return value


def cidr_list(env: environ.Env, name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks of a comma-separated list such as `10.0.0.0/8,fd00::/8`."""
    try:
        return [ipaddress.ip_network(item.strip()) for item in env.list(name, default=[]) if item.strip()]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}. Give networks such as 10.0.0.0/8, separated by commas.") from None


def fernet_keys(env: environ.Env, name: str) -> list[str]:
    """Return the keys that encrypt secrets, newest first: the first one encrypts, all of them decrypt."""
    keys = [key.strip() for key in required(env, name).split(",") if key.strip()]
    for key in keys:
        try:
            Fernet(key)
        except ValueError:
            # The key is a secret, so leave it out of the message.
            raise ImproperlyConfigured(
                f"{name} holds a value that is not a Fernet key (32 bytes, base64url). Make one with: "
                'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
            ) from None
    return keys
