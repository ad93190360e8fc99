"""Lines of the server's log are made before the handler is locked, and hold no text if it can't be masked."""

import io
import logging
import threading
import tomllib
from contextlib import contextmanager
from uuid import UUID

import pytest
from django.conf import settings

from config.log_format import OUR_PACKAGES, FieldsFormatter, is_plain
from events.masking.credentials import AGENT_TOKEN_PREFIX
from tests.waiting import PATIENCE_SECONDS, wait_until
from workspaces.access.tokens import random_text

ID = "0b5fd0e1-4f6e-4d0f-9b8f-2f1f3a6b7c8d"


@contextmanager
def configured_handler():
    """Give the handler of the server's log, as settings.py configures it, and what it writes meanwhile."""
    (handler,) = [each for each in logging.getLogger().handlers if each.get_name() == "console"]
    stream = io.StringIO()
    before = handler.setStream(stream)
    try:
        yield stream
    finally:
        handler.setStream(before)


@pytest.fixture
def away(monkeypatch):
    """Let no secret be readable."""

    def fail(line):
        raise ConnectionError

    monkeypatch.setattr(FieldsFormatter, "mask", fail)


def test_a_line_that_waits_for_its_secrets_keeps_no_other_thread_from_logging(monkeypatch):
    waits, may_go_on = threading.Event(), threading.Event()

    def mask(line):
        if "the slow one" in line:
            waits.set()
            may_go_on.wait(PATIENCE_SECONDS)
        return line

    monkeypatch.setattr(FieldsFormatter, "mask", mask)
    logger = logging.getLogger("workspaces.tests")
    slow = threading.Thread(target=logger.warning, args=["the slow one"])
    other = threading.Thread(target=logger.warning, args=["the other one"], daemon=True)
    with configured_handler() as stream:
        slow.start()
        try:
            assert waits.wait(PATIENCE_SECONDS)
            other.start()
            wait_until(lambda: "the other one" in stream.getvalue(), seconds=PATIENCE_SECONDS / 4)
            assert "the slow one" not in stream.getvalue()
        finally:
            may_go_on.set()
            slow.join()
        other.join()
        lines = stream.getvalue().splitlines()
    assert [line.partition(": ")[2] for line in lines] == ["the other one", "the slow one"]


def test_a_line_that_can_not_be_made_fails_no_caller(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with configured_handler() as stream:
        logging.getLogger("workspaces.tests").warning("It is %d", "no number")
        logging.getLogger("workspaces.tests").warning("It goes on")
    assert stream.getvalue().endswith("workspaces.tests: It goes on\n")


def unmasked_line(name, message, *arguments, **fields):
    """Return the line of a warning whose secrets can't be read."""
    record = {"name": name, "msg": message, "args": arguments, "levelname": "WARNING", "levelno": logging.WARNING}
    return FieldsFormatter().format(logging.makeLogRecord({**record, **fields})).partition(f"{name}: ")[2]


@pytest.mark.parametrize("message", ["Task exception was never retrieved\nfuture: hunter2", ValueError("hunter2")])
def test_a_librarys_message_is_left_out_if_it_can_not_be_masked(away, message):
    assert unmasked_line("asyncio", message) == "(left out)"


def test_of_our_messages_only_texts_stay_if_they_can_not_be_masked(away):
    assert unmasked_line("events.relay", "It broke: %s", "hunter2") == "It broke: %s"
    assert unmasked_line("events.relay", ValueError("hunter2")) == "(left out)"
    assert unmasked_line("eventsource", "It broke") == "(left out)"


def test_our_packages_are_those_of_the_server():
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())
    assert set(project["tool"]["importlinter"]["root_packages"]) - {"agent", "slipway"} == OUR_PACKAGES


@pytest.mark.parametrize("value", [ID, ID.upper(), UUID(ID), 3, 0.5, None])
def test_ids_and_numbers_stay_if_a_line_can_not_be_masked(value):
    assert is_plain(value)


@pytest.mark.parametrize("value", [UUID(ID).hex, f"{{{ID}}}", f"urn:uuid:{ID}", f"{ID}\n", "hunter2", ["hunter2"]])
def test_32_digits_that_may_be_a_key_are_left_out(away, value):
    assert unmasked_line("events.relay", "It broke", about=value) == 'It broke about="(left out)"'


def test_credentials_and_slipways_own_secrets_are_masked_without_the_database(away):
    token = AGENT_TOKEN_PREFIX + random_text()
    line = unmasked_line("events.relay", f"no access with {token} and {settings.SECRET_KEY}")
    assert line == "no access with •••••• and ••••••"
