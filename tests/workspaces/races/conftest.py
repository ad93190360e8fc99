"""Lets races take as long as this machine needs: what waits here ends as soon as the other side lets it."""

import pytest

from devserver import stop_and_resume
from tests.waiting import PATIENCE_SECONDS
from workspaces.services.stopping import shutdown


@pytest.fixture(autouse=True)
def patient_shutdowns(monkeypatch):
    monkeypatch.setattr(shutdown, "_LOCK_MILLISECONDS", int(PATIENCE_SECONDS * 1000))
    monkeypatch.setattr(stop_and_resume, "_REQUEST_SECONDS", PATIENCE_SECONDS)
