"""Encrypts at rest what must not be read from a dump: SECRETS_KEYS, the first encrypts, all decrypt."""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class CannotDecrypt(Exception):
    """The present SECRETS_KEYS can't decrypt this."""


def encrypt(text: str) -> str:
    """Return the text encrypted, as text."""
    return _cipher(tuple(settings.SECRETS_KEYS)).encrypt(text.encode()).decode()


def decrypt(ciphertext: str) -> str:
    """Return what was encrypted. Raises Unreadable."""
    try:
        return _cipher(tuple(settings.SECRETS_KEYS)).decrypt(ciphertext.encode()).decode()
    except InvalidToken:
        raise CannotDecrypt("It can't be decrypted with the present SECRETS_KEYS.") from None


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
