"""GET /api/openapi.json: the description of the API, for every API key and everyone who may sign in to the admin."""

import json
from functools import lru_cache

from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse

from config.api.ninja_api import answering_errors, api
from workspaces.access.authentication import Access
from workspaces.models import ApiScope

READ = Access(scopes=tuple(ApiScope), permission="")


@answering_errors
def openapi_document(request: HttpRequest) -> HttpResponse:
    """Show the description. A browser without a session is sent to the sign-in page, everyone else gets 401."""
    if request.get_preferred_type(["application/json", "text/html"]) == "text/html":
        return for_staff(request)
    READ(request)
    return described(request)


def described(request: HttpRequest) -> HttpResponse:
    return HttpResponse(document(api.get_root_path({})), content_type="application/json")


for_staff = staff_member_required(described)


# Of one prefix in most installations.
@lru_cache(maxsize=4)
def document(prefix: str) -> bytes:
    """Return the description of the API below a path prefix as JSON."""
    return json.dumps(api.get_openapi_schema(path_prefix=prefix)).encode()
