"""Which servers `make up` starts."""

import io

import pytest

from devserver import children
from devserver.console import Console


@pytest.mark.parametrize(
    ("registry", "platform", "ports"),
    [
        ("http://127.0.0.1:8001", "http://127.0.0.1:8000", ["8001"]),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000", []),
        ("http://registry.example", "http://127.0.0.1:8000", []),
        # A reverse proxy of the operator, before both.
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", []),
    ],
)
def test_a_registry_of_its_own_runs_only_at_an_address_of_its_own(settings, registry, platform, ports):
    settings.REGISTRY_URL, settings.PLATFORM_URL = registry, platform
    found = children.registry(web_port=8000, console=Console(io.StringIO()))
    assert [child.command[child.command.index("--port") + 1] for child in found] == ports
