"""The secrets among Slipway's own settings."""

from urllib.parse import unquote, urlsplit

from django.conf import settings

# A shorter password, such as the one of a database for development, is a word that occurs in texts.
_MIN_CHARACTERS = 8


def configured_secrets() -> list[str]:
    """Return the keys and passwords with which Slipway encrypts, signs, and logs in to servers, but no short ones."""
    urls = (settings.DATABASE_URL, settings.REDIS_URL, settings.OUTBOUND_PROXY)
    passwords = [unquote(urlsplit(url).password or "") for url in urls]
    values = [settings.SECRET_KEY, *settings.SECRETS_KEYS, *passwords, settings.EMAIL_HOST_PASSWORD or ""]
    return [value for value in values if len(value) >= _MIN_CHARACTERS]
