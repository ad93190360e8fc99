"""What answers a value that is none of an enumeration names the values as they are sent, not as Python calls them."""

import re
from typing import get_args

import pytest
from django.db import transaction

from registry.schemas import AgentFailureCode
from tests.config.api.refusals.test_bodies import TAKING, schema_of
from tests.described import CALLS
from workspaces.lifecycle.transitions import FailureCode

pytestmark = pytest.mark.django_db
NONE_OF_THEM = "none-of-them"
_VALUES = re.compile(r"Input should be '[^']*'(?:, '[^']*')*(?: or '[^']*')?\.")
_OF_PYTHON = re.compile(r"\b[A-Z]\w*\.[A-Za-z_]\w*|<\w+\.|enum")


def wrong_bodies(world):
    """Yield the call and the answer to each body with a field that holds none of any enumeration's values."""
    for call in TAKING:
        for field in schema_of(call)[1]:
            for value in (NONE_OF_THEM, [NONE_OF_THEM]):
                yield f"{call} {field} {value}", world.send(call, body=world.body(call) | {field: value})


def wrong_parameters(world):
    """Yield the call and the answer to each parameter of a query with such a value."""
    for call in sorted(CALLS):
        for parameter in CALLS[call].get("parameters", []):
            if parameter["in"] == "query":
                query = f"?{parameter['name']}={NONE_OF_THEM}"
                yield f"{call} {parameter['name']}", world.send(call, query=query)


@pytest.mark.parametrize(("wrong", "least"), [(wrong_bodies, 12), (wrong_parameters, 12)])
def test_no_answer_names_an_enumeration_as_python_does(world, wrong, least):
    told, answers = {}, wrong(world)
    while True:
        # What some of these change is of no interest.
        with transaction.atomic():
            place, answer = next(answers, (None, None))
            transaction.set_rollback(True)
        if place is None:
            break
        told[place] = answer.content.decode()
    assert {place: text for place, text in told.items() if _OF_PYTHON.search(text)} == {}
    assert len([text for text in told.values() if _VALUES.search(text)]) >= least, told


def test_a_failure_s_unknown_code_is_answered_with_those_that_an_agent_may_send(world):
    call = "POST /registry/failed"
    assert set(get_args(AgentFailureCode)) < set(FailureCode.values)
    answer = world.send(call, body=world.body(call) | {"code": "lost"})
    assert answer.json()["ignored"] == {"code": "Input should be 'missing_env', 'bad_config' or 'crashed'."}
