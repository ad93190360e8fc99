"""The Content-Security-Policy of every page, and the admin's theme as a file, which the policy needs."""

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.cache import cache_control

# Scripts and styles come from this server's files only, never from a page's own text. django-unfold's Alpine compiles
# the expressions in its attributes, which takes 'unsafe-eval'; it runs no text that a page inserts.
POLICY = "; ".join(
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)


class ContentSecurityMiddleware:
    """Sets the policy, and keeps the theme's colours out of the pages, where they would be an inline style."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    def process_template_response(self, request: HttpRequest, response: TemplateResponse) -> TemplateResponse:
        """Take out what `theme` serves. The admin's pages are template responses."""
        if response.context_data:
            response.context_data["colors"] = None
        return response


@cache_control(max_age=3600)
def theme(request: HttpRequest) -> HttpResponse:
    """Return the colours of django-unfold and of UNFOLD["COLORS"] as a style sheet."""
    colors = admin.site.each_context(request)["colors"]
    names = [
        f"--color-{name}-{weight}: {value};" for name, weights in colors.items() for weight, value in weights.items()
    ]
    return HttpResponse(":root {" + " ".join(names) + "}", content_type="text/css")
