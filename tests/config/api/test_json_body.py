"""Bodies that are costly to read as JSON are read, or refused, in time proportional to their size."""

import time

import pytest

from tests.callers import AgentCaller
from tests.workspaces.factories import online

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
    # From small to large: what takes long already at 120,000 bytes would take days at the limit.
    for size in (120_000, PATHS[path] // 2, PATHS[path]):
        body = start + unit * ((size - len(start)) // len(unit))
        began = time.process_time()
        answer = agent.client.generic("POST", path, body, content_type="application/json", headers=agent.headers)
        assert time.process_time() - began < 0.5 + 2 * size / MEBIBYTE
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")
