"""Lists in pages: an order, and a cursor in the header Link."""

import base64
import json
import re
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, TypeVar, cast

from django.core.exceptions import ValidationError
from django.db.models import Field as ModelField
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Schema
from pydantic import AfterValidator, BeforeValidator, Field

from postgres.clock import in_utc
from workspaces.access.errors import RequestRefused

Row = TypeVar("Row", bound=Model)
_NUMBER = re.compile(r"\s*[-+]?[0-9_.]+(?:[eE][-+]?[0-9]+)?\s*")


def storable(text: str) -> str:
    """Return the text. Raises ValueError for one that Postgres can't store, so that nothing can equal it."""
    if "\0" in text:
        raise ValueError("has a NUL character")
    return text


Text = Annotated[str, Field(max_length=200), AfterValidator(storable)]
Texts = Annotated[list[Text], Field(max_length=50)]


def no_number(given: Any) -> Any:
    """Return what is given as a time. Raises ValueError for a number, which could be of seconds or milliseconds."""
    if isinstance(given, int | float) or (isinstance(given, str) and _NUMBER.fullmatch(given)):
        raise ValueError("is a number; write the time as 2027-01-31T12:00:00Z")
    return given


Moment = Annotated[datetime, BeforeValidator(no_number), AfterValidator(in_utc)]


class Paged(Schema):
    """What every list takes. `sort` is the name of a column, with a hyphen in front for the opposite direction."""

    sort: str
    limit: int | None = Field(None, ge=1, le=1000)
    cursor: Annotated[str, Field(max_length=1000)] = Field("", description="from the header Link of the page before")


def in_order(rows: QuerySet[Row], wanted: Paged) -> QuerySet[Row]:
    """Return the rows behind the cursor, in order. Raises RequestRefused for a cursor of another list."""
    rows = rows.order_by(wanted.sort, "-pk" if wanted.sort.startswith("-") else "pk")
    return rows.filter(behind(wanted.cursor, sort=wanted.sort, model=rows.model)) if wanted.cursor else rows


def page_of(rows: QuerySet[Row], wanted: Paged, *, request: HttpRequest, response: HttpResponse) -> list[Row]:
    """Return one page of the rows, or all without a limit. Give the response the address of the next one."""
    if wanted.limit is None:
        return list(rows)
    page = list(rows[: wanted.limit + 1])
    if len(page) > wanted.limit:
        page.pop()
        following = request.GET.copy()
        following["cursor"] = cursor_of(page[-1], sort=wanted.sort)
        response["Link"] = f'<{request.path}?{following.urlencode()}>; rel="next"'
    return page


def cursor_of(row: Model, *, sort: str) -> str:
    """Return the cursor of the page that follows a row in an order."""
    position = json.dumps([sort, *(column.value_to_string(row) for column in columns(type(row), sort))])
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def behind(cursor: str, *, sort: str, model: type[Model]) -> Q:
    """Return the condition for what follows a cursor in its order. Raises RequestRefused for one of another order."""
    name, step = sort.removeprefix("-"), "lt" if sort.startswith("-") else "gt"
    try:
        of_sort, *texts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        last, last_pk = (
            column.to_python(text.replace("\0", "").encode(errors="replace").decode())
            for column, text in zip(columns(model, sort), texts, strict=True)
        )
        last = in_utc(last) if isinstance(last, datetime) else last
    except (ValueError, TypeError, AttributeError, ValidationError):
        of_sort = None
    if of_sort != sort:
        why = "This is not a cursor of a list in this order. Take it from the header Link."
        raise RequestRefused(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"cursor: {why}", code="validation_error", fields={"cursor": why}
        )
    # The first condition alone lets Postgres begin at the right place of an index.
    return Q(**{f"{name}__{step}e": last}) & (Q(**{f"{name}__{step}": last}) | Q(**{f"pk__{step}": last_pk}))


def columns(model: type[Model], sort: str) -> "list[ModelField[Any, Any]]":
    """Return the columns that an order goes by: the one it names, then the primary key."""
    named = model._meta.get_field(sort.removeprefix("-"))
    return [cast("ModelField[Any, Any]", named), model._meta.pk]
