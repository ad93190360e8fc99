"""A webhook's signing secrets, in the format of Standard Webhooks, and their rotation.

Stored as the encrypted option `signing`: [{secret, until: ISO time or None}], newest first.
"""

import base64
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from standardwebhooks import Webhook

ROTATION_OVERLAP = timedelta(hours=24)
_SECRET_BYTES = 32


def initial_options() -> dict[str, Any]:
    """Return the options of a new webhook that its form doesn't ask for: the first secret."""
    return {"signing": [_new_secret()]}


def rotate(signing: Sequence[Mapping[str, Any]], *, now: datetime) -> list[dict[str, Any]]:
    """Return the secrets with a new one in front. The current one signs too until the overlap ends."""
    until = (now + ROTATION_OVERLAP).isoformat()
    current = [{"secret": each["secret"], "until": each["until"] or until} for each in signing if is_valid(each, now)]
    return [_new_secret(), *current]


def _new_secret() -> dict[str, Any]:
    random = base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
    return {"secret": f"whsec_{random}", "until": None}


def is_valid(secret: Mapping[str, Any], now: datetime) -> bool:
    """Return whether the secret still signs."""
    return secret["until"] is None or datetime.fromisoformat(secret["until"]) > now


class Signer:
    """Signs messages with all secrets that are valid at the time."""

    def __init__(self, signing: Sequence[Mapping[str, Any]]) -> None:
        self._secrets = [(each, Webhook(each["secret"])) for each in signing]

    def headers(self, message_id: str, body: str) -> list[tuple[str, str]]:
        """Return the headers by which the receiver verifies the message."""
        now = datetime.now(tz=UTC)
        signatures = [webhook.sign(message_id, now, body) for secret, webhook in self._secrets if is_valid(secret, now)]
        return [
            ("webhook-id", message_id),
            ("webhook-timestamp", str(int(now.timestamp()))),
            ("webhook-signature", " ".join(signatures)),
        ]
