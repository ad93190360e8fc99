"""What a form of a browser asks for, in calls that read no body: its CSRF token asks for nothing."""

import re

from django.http import HttpRequest, QueryDict

_CSRF_TOKEN = "csrfmiddlewaretoken"  # noqa: S105 (the name of the field)
# curl calls all that it sends a form, unless it is told otherwise.
_JSON = re.compile(rb'\s*(?:[\[{"]|null\s*\Z)')


def form_fields(request: HttpRequest) -> list[str] | None:
    """Return the names of a form's fields and files without the CSRF token; None if the body is not a form.

    Django reads a multipart form only in a POST. Raises SuspiciousOperation or MultiPartParserError for a form that
    can't be read.
    """
    if request.content_type == "multipart/form-data" and request.method == "POST":
        names = [*request.POST, *request.FILES]
    elif request.content_type == "application/x-www-form-urlencoded" and not _JSON.match(request.body):
        names = [*QueryDict(request.body)]
    else:
        return None
    return [name for name in names if name != _CSRF_TOKEN]
