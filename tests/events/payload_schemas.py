"""Payloads against the catalogue, with a validator that is not ours."""

from functools import cache

from jsonschema import Draft202012Validator, FormatChecker

from events.catalogue import CATALOGUE
from events.names import EphemeralEventType, EventType


@cache
def validator(name):
    Draft202012Validator.check_schema(CATALOGUE[name].schema)
    return Draft202012Validator(CATALOGUE[name].schema, format_checker=FormatChecker())


def misfits(event_type, payload):
    """Return what of a payload does not fit its event's schema."""
    name = EventType(event_type) if event_type in EventType.values else EphemeralEventType(event_type)
    return [f"{event_type}: {error.json_path}: {error.message}" for error in validator(name).iter_errors(dict(payload))]
