"""What Schemathesis can't know of the calls that it makes (schemathesis.toml)."""

import os
import uuid

import schemathesis

KEPT = {os.environ["API_KEY_ID"], os.environ["AGENT_ID"]}
UNKNOWN_ID = 2_000_000_000


@schemathesis.hook
def before_call(context, case, kwargs):
    """Use each Idempotency-Key once, and change neither the API key nor the workspace that calls."""
    headers, parameters = case.headers or {}, case.path_parameters or {}
    if headers.get("Idempotency-Key"):
        headers["Idempotency-Key"] = str(uuid.uuid4())
    if case.method != "GET" and not case.path.startswith("/registry/"):
        for name, value in parameters.items():
            if str(value) in KEPT:
                parameters[name] = UNKNOWN_ID if name == "key_id" else str(uuid.uuid4())
