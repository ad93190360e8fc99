"""The events' API alone, with the error answers of the whole API."""

from django.urls import path
from ninja import NinjaAPI
from ninja.errors import ValidationError

from events.api import router

api = NinjaAPI(urls_namespace="events-tests", docs_url=None, openapi_url=None)
api.add_router("/events", router)


@api.exception_handler(ValidationError)
def _invalid(request, refusal):
    fields = {str(error["loc"][-1]): error["msg"] for error in refusal.errors}
    return api.create_response(
        request, {"error": "Bad values.", "code": "validation_error", "fields": fields}, status=422
    )


urlpatterns = [path("", api.urls)]
