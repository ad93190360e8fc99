"""Encrypts texts in the database with SECRETS_KEYS: the first key encrypts, all of them decrypt."""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class CannotDecrypt(Exception):
    """None of SECRETS_KEYS can decrypt the text."""


def encrypt(text: str) -> str:
    """Return the encrypted text, as a Fernet token."""
    return _cipher(tuple(settings.SECRETS_KEYS)).encrypt(text.encode()).decode()


def decrypt(ciphertext: str) -> str:
    """Return the text that was encrypted. Raises CannotDecrypt."""
    try:
        return _cipher(tuple(settings.SECRETS_KEYS)).decrypt(ciphertext.encode()).decode()
    except InvalidToken:
        raise CannotDecrypt("It can't be decrypted with the current SECRETS_KEYS.") from None


def is_current(ciphertext: str) -> bool:
    """Return whether the text was encrypted with the first key."""
    try:
        _cipher(tuple(settings.SECRETS_KEYS[:1])).decrypt(ciphertext.encode())
    except InvalidToken:
        return False
    return True


def rotate(ciphertext: str) -> str:
    """Return the same text encrypted with the first key. Raises CannotDecrypt."""
    return encrypt(decrypt(ciphertext))


@lru_cache(maxsize=4)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
