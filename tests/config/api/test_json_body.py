"""Bodies that are costly to read as JSON are read, or refused, in time and memory proportional to their size."""

import json
import time
import tracemalloc

import pytest

from config.api.json_body import read_json
from tests.callers import AgentCaller
from tests.workspaces.factories import online
from workspaces.access.errors import RequestRefused

MEBIBYTE = 1_048_576
DEEP = "[" * 100_000
COSTLY = {
    "quotes in a text that never ends": (DEEP + '"', '\\"'),
    "backslashes in a text that never ends": (DEEP + '"', "\\\\"),
    "texts": (DEEP, '"",'),
    "brackets in turn": (DEEP, "[]"),
}
PATHS = {"/registry/heartbeat": MEBIBYTE, "/registry/failed": 8 * MEBIBYTE}


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("costly", COSTLY.values(), ids=COSTLY)
def test_a_report_that_is_no_json_is_refused_quickly(path, costly):
    agent, (start, unit) = AgentCaller(online()), costly
    # The first request of a process loads what the others use.
    assert agent.beat().status_code == 200
    # From small to large: what takes long already at 120,000 bytes would take days at the limit.
    for size in (120_000, PATHS[path] // 2, PATHS[path]):
        body = start + unit * ((size - len(start)) // len(unit))
        began = time.process_time()
        answer = agent.client.generic("POST", path, body, content_type="application/json", headers=agent.headers)
        # Many times what it takes.
        assert time.process_time() - began < 2 + 10 * size / MEBIBYTE
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")


def test_many_items_below_a_long_key_are_read_in_little_memory():
    body = json.dumps({"k" * 20_000: [0] * 5000}).encode()
    tracemalloc.start()
    read_json(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * len(body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("\0", "body"),
        ({"config": [0, {"args": ["a", "b\0"]}]}, "config[1].args[1]"),
        ([["\0"]], "[0][0]"),
        ({"k" * 300: ["\0"]}, "k" * 200),
    ],
    ids=["the body", "a text", "lists", "a long key"],
)
def test_the_refusal_of_a_value_names_its_place(body, field):
    with pytest.raises(RequestRefused) as refused:
        read_json(json.dumps(body).encode())
    assert refused.value.fields == {field: f"{field} holds a NUL character."}


def test_the_refusal_of_a_key_names_what_holds_it():
    with pytest.raises(RequestRefused, match=r"labels has a key that holds a NUL character\."):
        read_json(json.dumps({"labels": {"\0": ""}}).encode())
