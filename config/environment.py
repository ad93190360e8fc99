"""Reads single variables for `settings.py`; a bad value stops the start with a sentence that names it."""

import ipaddress

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured


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
