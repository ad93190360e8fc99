"""The API's description in OpenAPI 3.1, with the one call that Ninja doesn't serve."""

from typing import Any

from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from ninja.utils import normalize_path

from registry.heartbeat import heartbeat
from registry.schemas import HeartbeatIn

_REFERENCES = "#/components/schemas/{model}"


class DescribedAPI(NinjaAPI):
    """Ninja's API, whose description has the heartbeat too."""

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the description of every call."""
        schema = super().get_openapi_schema(**options)
        body = HeartbeatIn.model_json_schema(ref_template=_REFERENCES)
        schema["components"]["schemas"] |= {**body.pop("$defs", {}), "HeartbeatIn": body}
        reference = {"schema": {"$ref": _REFERENCES.format(model="HeartbeatIn")}}
        schema["paths"][normalize_path(f"/{schema.path_prefix}/registry/heartbeat")] = {
            "post": {
                "operationId": "registry_heartbeat",
                "summary": "Heartbeat",
                "description": heartbeat.__doc__,
                "tags": ["registry"],
                "parameters": [],
                "requestBody": {"content": {"application/json": reference}, "required": True},
                "responses": {"200": {"description": "OK"}},
            }
        }
        return schema
