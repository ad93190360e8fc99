"""Reads single variables for `settings.py`; a bad value stops the start with a sentence that names it."""

import ipaddress
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

MAIL_SCHEMES = ("smtp", "smtp+tls", "smtp+ssl", "consolemail", "filemail")
_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def present_variables() -> environ.Env:
    """Return the environment's reader, for which an empty variable is an unset one."""
    env = environ.Env()
    env.ENVIRON = {name: value for name, value in os.environ.items() if value.strip()}
    return env


def required(env: environ.Env, name: str) -> str:
    """Return the variable's text, or refuse to start where it is unset or empty."""
    value = env.str(name, default="").strip()
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set. Set it in the environment (see .env.example), "
            "or use manage.py and make, which start embedded servers and make local keys."
        )
    return value


def optional_seconds(env: environ.Env, name: str) -> int | None:
    """Return a whole number of seconds, or None where the variable is unset or empty."""
    text = env.str(name, default="").strip()
    return _positive(name, text) if text else None


def seconds(env: environ.Env, name: str, *, default: int) -> int:
    """Return a whole number of seconds of at least 1."""
    text = env.str(name, default="").strip()
    return _positive(name, text) if text else default


def _positive(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= 31_536_000:
        raise ImproperlyConfigured(f"{name}={text} is no number of seconds: give a whole number from 1 to 31536000.")
    return int(text)


def integer(env: environ.Env, name: str, *, default: int, least: int, most: int) -> int:
    """Return a whole number between two bounds."""
    text = env.str(name, default="").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise ImproperlyConfigured(f"{name}={text} can't be used: give a whole number from {least} to {most}.")
    return int(text)


def flag(env: environ.Env, name: str, *, default: bool) -> bool:
    """Return a yes or no."""
    text = env.str(name, default="").strip().lower()
    if not text:
        return default
    if text not in _FLAGS:
        raise ImproperlyConfigured(f"{name}={text} is neither yes nor no: give one of {', '.join(_FLAGS)}.")
    return _FLAGS[text]


def choice(env: environ.Env, name: str, *, default: str, among: Sequence[str]) -> str:
    """Return one of the values that there are."""
    text = env.str(name, default="").strip() or default
    if text not in among:
        raise ImproperlyConfigured(f"{name}={text} is unknown: give one of {', '.join(among)}.")
    return text


def url(env: environ.Env, name: str, *, schemes: Sequence[str], default: str = "") -> str:
    """Return an address of one of these schemes; its text may hold a password and stays out of the message."""
    text = env.str(name, default=default).strip() if default else required(env, name)
    try:
        parts = urlsplit(text or default)
        is_usable = parts.scheme in schemes and (bool(parts.hostname) or parts.scheme == "unix")
        # A port that is no number is noticed only when it is asked for.
        is_usable = is_usable and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ImproperlyConfigured(f"{name} is no usable address: it must look like {schemes[0]}://host:port.")
    return text or default


def optional_url(env: environ.Env, name: str, *, schemes: Sequence[str]) -> str:
    """Return an address of one of these schemes, or nothing where the variable is unset or empty."""
    text = env.str(name, default="").strip()
    if text and urlsplit(text).scheme not in schemes:
        raise ImproperlyConfigured(f"{name} is no usable address: it begins with one of {', '.join(schemes)}, then ://")
    return text


def cidr_list(env: environ.Env, name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """Return the networks of a comma-separated list such as `10.0.0.0/8,fd00::/8`."""
    try:
        return [ipaddress.ip_network(item.strip()) for item in env.list(name, default=[]) if item.strip()]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}. Give networks such as 10.0.0.0/8, separated by commas.") from None


def fernet_keys(env: environ.Env, name: str) -> list[str]:
    """Return the keys that encrypt secrets, newest first: the first encrypts, all decrypt."""
    keys = [key.strip() for key in required(env, name).split(",") if key.strip()]
    for key in keys:
        try:
            Fernet(key)
        except ValueError:
            # The key itself is a secret and stays out of the message.
            raise ImproperlyConfigured(
                f"{name} holds a value that is no Fernet key (32 bytes, base64url). Make one with: "
                'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
            ) from None
    return keys
