"""What the API's description says, and a client whose every answer is held against it."""

import json
import re
from http import HTTPStatus

from django.test import Client
from jsonschema import Draft202012Validator

from config.management.commands.openapi_page import openapi_page

DESCRIBED = json.loads(openapi_page())
CALLS = {
    f"{method.upper()} {path}": call for path, calls in DESCRIBED["paths"].items() for method, call in calls.items()
}
# Validating a row takes a millisecond, and the rows of a list are made alike.
MOST_ROWS = 20
# What the server, Django and its middlewares put on any answer.
HEADERS_OF_ANY_ANSWER = {
    *("content-type", "content-length", "date", "server", "connection", "transfer-encoding", "vary", "cache-control"),
    *("x-frame-options", "x-content-type-options", "referrer-policy", "cross-origin-opener-policy", "set-cookie"),
    *("content-security-policy", "strict-transport-security"),
}


def closed(schema):
    """Return a schema that allows no field which it doesn't name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    return (
        {"additionalProperties": False, **inner} if inner.get("type") == "object" and "properties" in inner else inner
    )


COMPONENTS = closed(DESCRIBED["components"])


def misfits(value, schema):
    """Return what is wrong with a JSON value by a schema of the description, fields that it doesn't name included."""
    whole = {**schema, "components": COMPONENTS}
    validator = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}"[:500] for error in validator.iter_errors(value)]


# Those without parameters first: `/workspaces/preflight` is not a workspace.
PATHS = [
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), calls)
    for path, calls in sorted(DESCRIBED["paths"].items(), key=lambda item: item[0].count("{"))
]


def misfits_of_answer(method, path, response):
    """Return how an answer differs from what the description says of the call.

    An address that has calls, but none of this method, answers 405.
    """
    answer = described_answer(method, path, response.status_code)
    if answer is None:
        return []
    if not answer:
        return [f"{response.status_code} is not described: {response.content[:300]!r}"]
    if "$ref" in answer:
        answer = DESCRIBED["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    known = HEADERS_OF_ANY_ANSWER | {name.lower() for name in answer["headers"]}
    found = [f"the header {name} is not described" for name in response.headers if name.lower() not in known]
    kind = response.headers.get("Content-Type", "")
    content = answer["content"].get(kind.partition(";")[0])
    if content is None:
        return [*found, f"the type {kind!r} is not described"]
    if kind.startswith("application/json"):
        value = json.loads(response.content)
        if "x-codes" in answer and value.get("code") not in answer["x-codes"]:
            found.append(f"the code {value.get('code')} is not described for {response.status_code}")
        found += misfits(value[:MOST_ROWS] if isinstance(value, list) else value, content["schema"])
    return found


def described_answer(method, path, status):
    """Return what the description says of an answer: {} if it says nothing, None if it knows no such address."""
    calls = next((calls for pattern, calls in PATHS if pattern.fullmatch(path)), None)
    if calls is None:
        return None
    if call := calls.get(method.lower()):
        return call["responses"].get(str(status), {})
    return {"$ref": "Refused405"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}


class DescribedClient(Client):
    """A client that fails if an answer is not as the API's description says."""

    def request(self, **request):
        """Make the request and hold its answer against the description."""
        response = super().request(**request)
        method, path = request.get("REQUEST_METHOD", "GET"), request.get("PATH_INFO", "/")
        found = misfits_of_answer(method, path, response)
        assert not found, f"{method} {path}: {found}"
        return response
