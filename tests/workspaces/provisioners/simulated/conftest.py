import asyncio
import threading
from contextlib import contextmanager

import pytest

from tests.waiting import PATIENCE_SECONDS
from workspaces.models import BackendKind
from workspaces.provisioners import registry
from workspaces.provisioners.simulated.simulator import Simulator


@pytest.fixture
def simulated(live_server, settings, tmp_path):
    """Return the simulated backend; its agents call the real registry."""
    settings.PROVISIONER, settings.ALLOW_SIMULATOR, settings.DATA_DIR = "simulated", True, tmp_path
    settings.REGISTRY_URL, settings.HEARTBEAT_INTERVAL_SECONDS = live_server.url, 0.1
    registry.get_provisioner.cache_clear()
    yield registry.get_provisioner(BackendKind.SIMULATED)
    registry.get_provisioner.cache_clear()


@contextmanager
def playing(backend):
    """Play the backend's agents in a thread during the block."""
    stop, loop = asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(Simulator(backend).play(stop=stop),))
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_SECONDS)
        loop.close()
