"""Lists in pages: an order, and a cursor in the header Link. One implementation for every list of the API."""

import base64
import json
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast

from django.core.exceptions import ValidationError
from django.db.models import Field as ModelField
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Schema
from pydantic import Field

from events.parameters import WrongParameters
from postgres.clock import in_utc

Row = TypeVar("Row", bound=Model)
# The most rows of a page.
MOST_ROWS = 1000


class Paged(Schema):
    """What every list takes. `sort` is the name of a column, with a hyphen in front for the opposite direction."""

    sort: str
    limit: int | None = Field(None, ge=1, le=MOST_ROWS)
    cursor: Annotated[str, Field(max_length=1000)] = Field("", description="from the header Link of the page before")


def in_order(rows: QuerySet[Row], wanted: Paged) -> QuerySet[Row]:
    """Return the rows behind the cursor, in order. Raises WrongParameters for a cursor of another list."""
    minus = "-" if wanted.sort.startswith("-") else ""
    rows = rows.order_by(*(f"{minus}{column.name}" for column in columns(rows.model, wanted.sort)))
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
    # With text as it is: an escaped emoji takes three times the bytes, and a cursor's length has a limit.
    texts = [column.value_to_string(row) for column in columns(type(row), sort)]
    position = json.dumps([sort, *texts], ensure_ascii=False)
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def behind(cursor: str, *, sort: str, model: type[Model]) -> Q:
    """Return the condition for what follows a cursor in its order. Raises WrongParameters for one of another order."""
    step = "lt" if sort.startswith("-") else "gt"
    named, *ties = columns(model, sort)
    try:
        of_sort, *texts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        last, *last_ties = (
            column.to_python(text.replace("\0", "").encode(errors="replace").decode())
            for column, text in zip([named, *ties], texts, strict=True)
        )
        last = in_utc(last) if isinstance(last, datetime) else last
    except (ValueError, TypeError, AttributeError, ValidationError):
        of_sort = None
    if of_sort != sort:
        raise WrongParameters({"cursor": "This is not a cursor of a list in this order. Take it from the header Link."})
    if not ties:
        return Q(**{f"{named.name}__{step}": last})
    # The first condition alone lets Postgres begin at the right place of an index.
    after_ties = Q(**{f"{named.name}__{step}": last}) | Q(**{f"{ties[0].name}__{step}": last_ties[0]})
    return Q(**{f"{named.name}__{step}e": last}) & after_ties


def columns(model: type[Model], sort: str) -> "list[ModelField[Any, Any]]":
    """Return the columns that an order goes by: the one it names, and the primary key unless that one is unique."""
    named = cast("ModelField[Any, Any]", model._meta.get_field(sort.removeprefix("-")))
    return [named] if named.unique else [named, model._meta.pk]
