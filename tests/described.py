"""What the API's description says, and a client whose every answer is held against it."""

import json
import re

from django.test import Client
from jsonschema import Draft202012Validator

from config.api.openapi import ANSWER_HEADERS
from config.management.commands.openapi_page import openapi_page

DESCRIBED = json.loads(openapi_page())
CALLS = {
    f"{method.upper()} {path}": call for path, calls in DESCRIBED["paths"].items() for method, call in calls.items()
}
# Validating a row takes a millisecond, and the rows of a list are made alike.
MOST_ROWS = 20


def closed(schema):
    """Return a schema that allows no field which it doesn't name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(each) for name, each in schema.items()}
    return {"additionalProperties": False, **inner} if isinstance(inner.get("properties"), dict) else inner


COMPONENTS = closed(DESCRIBED["components"])


def misfits(value, schema):
    """Return what is wrong with a JSON value by a schema of the description, fields that it doesn't name included."""
    whole = {**schema, "components": COMPONENTS}
    validator = Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}"[:500] for error in validator.iter_errors(value)]


# Those of paths without parameters first.
PATTERNS = [
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", name)), call)
    for name, call in sorted(CALLS.items(), key=lambda item: item[0].count("{"))
]


def misfits_of_answer(method, path, response):
    """Return how an answer differs from what the description says of the call."""
    call = next((call for pattern, call in PATTERNS if pattern.fullmatch(f"{method} {path}")), None)
    if call is None:
        return []
    answer = call["responses"].get(str(response.status_code))
    if answer is None:
        return [f"{response.status_code} is not described: {response.content[:300]!r}"]
    if "$ref" in answer:
        answer = DESCRIBED["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    unknown = ANSWER_HEADERS.keys() - answer["headers"]
    found = [f"the header {name} is not described" for name in unknown if name in response]
    content = answer["content"].get(response["Content-Type"].partition(";")[0])
    if content is None:
        return [*found, f"the type {response['Content-Type']} is not described"]
    if response["Content-Type"].startswith("application/json"):
        value = json.loads(response.content)
        found += misfits(value[:MOST_ROWS] if isinstance(value, list) else value, content["schema"])
    return found


class DescribedClient(Client):
    """A client that fails if an answer is not as the API's description says."""

    def request(self, **request):
        """Make the request and hold its answer against the description."""
        response = super().request(**request)
        method, path = request.get("REQUEST_METHOD", "GET"), request.get("PATH_INFO", "/")
        found = misfits_of_answer(method, path, response)
        assert not found, f"{method} {path}: {found}"
        return response
