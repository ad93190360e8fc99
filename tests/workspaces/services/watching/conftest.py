"""The receiver on this machine that the tests of channels have."""

from tests.events.channels.conftest import loopback_allowed, receiver

__all__ = ["loopback_allowed", "receiver"]
