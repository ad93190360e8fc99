"""What the tests of channels share: a receiver on this machine, and the setting that allows it."""

import ipaddress

import pytest

from tests.events.channels.receivers import receiving


@pytest.fixture
def loopback_allowed(settings):
    settings.DELIVERY_ALLOW_PRIVATE = [ipaddress.ip_network("127.0.0.0/8")]
    settings.PLATFORM_URL = "https://slipway.example.com"


@pytest.fixture
def receiver(loopback_allowed):
    with receiving() as receiver:
        yield receiver
