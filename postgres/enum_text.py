"""The type of a text from a column that holds one of an enum's values.

The code has it as text, because a newer Slipway may have stored a value that this one doesn't know.
"""

from enum import Enum

from pydantic import GetPydanticSchema


def one_of(choices: type[Enum]) -> GetPydanticSchema:
    """Return the annotation of such a text, from which the description of the API takes the values."""
    return GetPydanticSchema(lambda _source, handler: handler(choices))
