import json

from config.api.ninja_api import api
from workspaces.management.generated_page import GeneratedPageCommand


def openapi_page() -> str:
    """Return what GET /api/openapi.json answers, indented."""
    return json.dumps(api.get_openapi_schema(path_prefix=""), indent=2, ensure_ascii=False) + "\n"


class Command(GeneratedPageCommand):
    help = "Write docs/reference/openapi.json from the API."
    path = "docs/reference/openapi.json"
    render = staticmethod(openapi_page)
