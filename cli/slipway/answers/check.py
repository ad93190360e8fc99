"""Check that JSON has the shape that a command reads."""

from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any


class OneOf:
    """A value of any of these shapes."""

    def __init__(self, *shapes: "Shape") -> None:
        self.shapes = shapes


# A type; an object with these fields and any others, in which `name?` may be missing; a list of one shape, that of all
# its rows; or a function that tells whether a value fits.
Shape = type | UnionType | Mapping[str, Any] | list[Any] | OneOf | Callable[[Any], bool]


def difference(value: Any, shape: Shape) -> str:
    """Return where a value differs from a shape, such as `[3].failure is not an object`; "" if it has the shape."""
    match shape:
        case type() | UnionType():
            return "" if isinstance(value, shape) else f" is {type(value).__name__}"
        case Mapping():
            return difference_of_object(value, shape)
        case list():
            if not isinstance(value, list):
                return " is not a list"
            rows = ((place, difference(row, shape[0])) for place, row in enumerate(value))
            return next((f"[{place}]{why}" for place, why in rows if why), "")
        case OneOf():
            found = [difference(value, each) for each in shape.shapes]
            return found[-1] if all(found) else ""
        case _:
            return "" if shape(value) else " is not what it should be"


def difference_of_object(value: Any, fields: Mapping[str, Any]) -> str:
    """Return where a value differs from an object with these fields, "" if it is one."""
    if not isinstance(value, dict):
        return " is not an object"
    for field, shape in fields.items():
        name = field.removesuffix("?")
        if name in value:
            if why := difference(value[name], shape):
                return f".{name}{why}"
        elif name == field:
            return f".{name} is missing"
    return ""
