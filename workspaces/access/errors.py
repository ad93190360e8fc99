"""Why a request is not answered as asked: for what stands before the verbs, which raise exceptions of their own."""

from collections.abc import Mapping
from http import HTTPStatus


class RequestRefused(Exception):
    """The caller gets this status and sentence. `code` is for scripts, `fields` says why for each field."""

    def __init__(
        self, status: HTTPStatus, error: str, *, code: str = "", fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.code = code
        self.fields = dict(fields or {})
