"""Which events a live client wants, judged by what each event says of its workspace at that time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.http import QueryDict

from events.envelope import LoggedEvent
from events.names import EphemeralEventType, EventType

# The query parameters that filter.
FIELDS = ("event", "workspace", "runtime", "subtree")
# More would make the URL too long.
MAX_VALUES = 100
_MAX_RUNTIME_CHARACTERS = 63
Value = TypeVar("Value")
_EVENT_NAMES = frozenset([*EventType.values, *EphemeralEventType.values])


class BadFilter(ValueError):
    """A value of a filter is invalid; `field` is the query parameter."""

    def __init__(self, field: str, error: str) -> None:
        super().__init__(error)
        self.field = field


@dataclass(frozen=True, kw_only=True)
class Filter:
    """An event passes if it matches every set that is not empty."""

    events: frozenset[str] = frozenset()
    workspaces: frozenset[UUID] = frozenset()
    runtimes: frozenset[str] = frozenset()
    # IDs as text: a workspace and its descendants.
    subtrees: frozenset[str] = frozenset()

    def passes(self, event: LoggedEvent) -> bool:
        """Return whether a client with this filter gets the event. Events of the fleet have no workspace or runtime."""
        return (
            (not self.events or event.event_type in self.events)
            and (not self.workspaces or event.workspace_id in self.workspaces)
            and (not self.runtimes or event.subject.get("runtime") in self.runtimes)
            and (
                not self.subtrees
                or not self.subtrees.isdisjoint([str(event.workspace_id), *event.subject.get("ancestors", ())])
            )
        )


EVERYTHING = Filter()


def parse(query: QueryDict) -> Filter:
    """Return the filter of the parameters FIELDS. Raises BadFilter.

    Each parameter may be repeated, and may hold several values with commas between them.
    """
    return Filter(
        events=frozenset(_values(query, "event", check_event_name)),
        workspaces=frozenset(_values(query, "workspace", _workspace_id)),
        runtimes=frozenset(_values(query, "runtime", check_runtime)),
        subtrees=frozenset(str(root) for root in _values(query, "subtree", _workspace_id)),
    )


def _values(query: QueryDict, field: str, convert: Callable[[str], Value]) -> Iterator[Value]:
    texts = [text.strip() for given in query.getlist(field) for text in given.split(",")]
    if len(texts) > MAX_VALUES:
        raise BadFilter(field, f"{field} may have at most {MAX_VALUES} values.")
    for text in texts:
        try:
            yield convert(text)
        except ValueError as error:
            raise BadFilter(field, str(error)) from None


def check_event_name(text: str) -> str:
    """Return the name of an event. Raises ValueError for an unknown one."""
    if text not in _EVENT_NAMES:
        raise ValueError(f"There is no event {text[:80]!r}. Known events: {', '.join(sorted(_EVENT_NAMES))}.")
    return text


def _workspace_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ValueError(f"{text[:80]!r} is not a workspace ID.") from None


def check_runtime(text: str) -> str:
    """Return the name of a runtime. Raises ValueError if it can't be one."""
    if not text or not text.isprintable() or len(text) > _MAX_RUNTIME_CHARACTERS:
        raise ValueError(f"A runtime's name has 1 to {_MAX_RUNTIME_CHARACTERS} printable characters.")
    return text
