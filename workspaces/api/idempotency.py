"""Idempotency-Key: a caller that got no answer repeats its request, and it is done once."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import Any, TypeVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from ninja import Status

from postgres import encryption
from workspaces.access.authentication import Operator
from workspaces.access.browser_forms import form_fields
from workspaces.access.errors import RequestRefused
from workspaces.models import StoredAnswer

KEPT = timedelta(hours=24)
MAX_KEY_CHARACTERS = 255
Answer = TypeVar("Answer")


def once(request: HttpRequest, response: HttpResponse, act: Callable[[], Status[Answer]]) -> Status[Answer]:
    """Return the answer of `act`, or the stored one if the caller has sent this request with this key before.

    Only what succeeded is stored, in the transaction that did it; a second request waits until the first has ended.
    Without the header `act` simply runs. Raises RequestRefused for a key that came with another request.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return act()
    if not key.strip() or len(key) > MAX_KEY_CHARACTERS or not key.isprintable():
        why = f"Idempotency-Key must have 1 to {MAX_KEY_CHARACTERS} characters, none of them a control character."
        fields = {"Idempotency-Key": why}
        raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, why, code="validation_error", fields=fields)
    caller: Operator = request.auth  # type: ignore[attr-defined]
    digest = digest_of(caller.id, key)
    # A form that is sent again has another boundary, and a page that is loaded again another CSRF token.
    body = b"" if form_fields(request) == [] else request.body
    request_digest = digest_of(request.method or "", request.get_full_path(), body.hex())
    with transaction.atomic():
        StoredAnswer.objects.filter(digest=digest, created_at__lt=Now() - KEPT).delete()
        stored, is_first = StoredAnswer.objects.get_or_create(
            digest=digest, defaults={"request_digest": request_digest, "status": 0, "body": ""}
        )
        if is_first:
            answer = act()
            text = json.dumps(answer.value, cls=DjangoJSONEncoder)
            StoredAnswer.objects.filter(pk=digest).update(status=answer.status_code, body=encryption.encrypt(text))
            return answer
    if stored.request_digest != request_digest:
        why = "This Idempotency-Key came with another request. Use a new key for each request."
        raise RequestRefused(HTTPStatus.UNPROCESSABLE_ENTITY, why, code="idempotency_key_reused")
    response["Idempotent-Replayed"] = "true"
    return Status(stored.status, json.loads(encryption.decrypt(stored.body)))


def digest_of(*parts: Any) -> str:
    """Return the SHA-256 of the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
