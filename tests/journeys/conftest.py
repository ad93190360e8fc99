import pytest

from tests.journeys.stack import Stack


@pytest.fixture
def stack(child_environment):
    """A Slipway with nothing started yet; whatever a test starts is ended with it."""
    stack = Stack(child_environment)
    try:
        yield stack
    finally:
        stack.stop()
        # Shown where the test failed.
        print(stack.output)
