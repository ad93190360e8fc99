"""The routes of the running URL conf."""

import inspect
import re

from django.test import Client
from django.urls import URLResolver, get_resolver
from ninja.operation import PathView

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def running_routes():
    """Return the routes outside of the admin as credential_table.py writes them: `GET /workspaces/{workspace_id}`."""
    return {
        f"{method} {path}"
        for path, pattern, in_admin in patterns_of(get_resolver())
        if not in_admin
        for method in methods_of(path, pattern.callback)
    }


def admin_pages():
    """Return (path, name) of each page of the admin."""
    return [(path, pattern.name or "") for path, pattern, in_admin in patterns_of(get_resolver()) if in_admin]


def patterns_of(resolver, prefix="/", *, in_admin=False):
    """Yield (path, pattern, whether it is one of the admin's)."""
    for each in resolver.url_patterns:
        # Of a regular expression, the first alternative.
        route = re.sub(r"\((?:\?P<\w+>)?([^|)]*)[^)]*\)", r"\1", str(each.pattern))
        path = prefix + re.sub(
            r"<(?:\w+:)?(\w+)>", r"{\1}", route.removeprefix("^").removesuffix("$").removesuffix("/?")
        )
        if isinstance(each, URLResolver):
            yield from patterns_of(each, path, in_admin=in_admin or each.app_name == "admin")
        else:
            yield path, each, in_admin


def methods_of(path, view):
    """Return the methods of Ninja's operations at a path. Of another view, the first one that it accepts."""
    served_by = inspect.getclosurevars(view).nonlocals.get("self") if inspect.isfunction(view) else None
    if isinstance(served_by, PathView):
        return [method for operation in served_by.operations for method in operation.methods]
    client = Client(raise_request_exception=False)
    return [next(method for method in _METHODS if client.generic(method, path).status_code != 405)]
