"""The secrets among Slipway's own settings."""

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from django.conf import settings


def configured_secrets() -> Iterator[str]:
    """Yield the keys and passwords with which Slipway encrypts, signs, and logs in to servers."""
    yield settings.SECRET_KEY
    yield from settings.SECRETS_KEYS
    for url in (settings.DATABASE_URL, settings.REDIS_URL, settings.OUTBOUND_PROXY):
        if password := urlsplit(url).password:
            yield unquote(password)
    if settings.EMAIL_HOST_PASSWORD:
        yield settings.EMAIL_HOST_PASSWORD
