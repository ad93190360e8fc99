import pytest

from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.fake_backend import fake_backend
from workspaces.provisioners import guarded_calls
from workspaces.provisioners.process import provisioner


@pytest.fixture
def fake():
    """A simulated backend in place of the process backend."""
    with fake_backend() as fake:
        yield fake


@pytest.fixture(autouse=True)
def patient_backends(monkeypatch):
    """Let looks and stops take as long as this machine needs. They end as soon as they are done."""
    for name in ("LOOK_SECONDS", "AFTER_STOP_SECONDS"):
        monkeypatch.setattr(guarded_calls, name, PATIENCE_SECONDS)
    for name in ("KILL_SECONDS", "EXIT_RECORD_SECONDS"):
        monkeypatch.setattr(provisioner, name, PATIENCE_SECONDS)
