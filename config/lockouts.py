"""What django-axes asks us: where a sign-in comes from, and what whoever is locked out gets to see."""

from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def client_address(request: HttpRequest) -> str:
    """Return the address that guesses are counted for. The entry has looked behind the proxies (config/entry)."""
    return request.META.get("REMOTE_ADDR", "")


def locked_out(request: HttpRequest, response: HttpResponse | None = None, credentials: Any = None) -> HttpResponse:
    """Return the page for an account that is locked for the address, with the longest time that this lasts."""
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    title = "Too many wrong passwords"
    sentence = f"This account is locked for your address, for at most {seconds // 60} minutes."
    page = render(request, "config/short_page.html", {"title": title, "sentence": sentence})
    page.status_code = HTTPStatus.TOO_MANY_REQUESTS
    page["Retry-After"] = str(seconds)
    return page
