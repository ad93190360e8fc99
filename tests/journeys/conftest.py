import pytest

from tests.journeys.stack import Stack


@pytest.fixture
def stack(child_environment):
    """A Slipway with nothing started yet. All processes that the test starts are stopped after it."""
    stack = Stack(child_environment)
    try:
        yield stack
    finally:
        stack.stop()
        # Pytest shows it if the test failed.
        print(stack.output)
