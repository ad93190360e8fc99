"""`make demo` as an operator uses it: with its own data, and without a process left after it stops."""

import os
import re
import signal

import httpx
import pytest

from tests.journeys.test_up import Up, wait_until_nothing_is_left
from tests.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.journey


def test_a_demo_shows_its_fleet_and_leaves_no_process_and_no_data_elsewhere(tmp_path):
    folder, theirs = tmp_path / "demo", tmp_path / "data"
    # The address of a database that does not exist. A demo that used it would not start.
    address = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "DATA_DIR": str(theirs)}
    real = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **address}
    demo = Up("--folder", str(folder), "--patience", "0", "--speed", "60", variables=real, command="demo")
    try:
        demo.wait_for("Ctrl-C ends it.")
        [page] = re.findall(r"The demo runs at (http://\S+)", demo.output)
        assert httpx.get(page, timeout=PATIENCE_SECONDS, follow_redirects=True).status_code == 200
        assert len(re.findall(r"User admin, password \S{16}", demo.output)) == 1
        assert "60 simulated workspaces" in demo.output
        demo.wait_for(" online")
        demo.stop(signal.SIGINT)
        assert demo.process.returncode == 0, demo.output
    finally:
        demo.close()
    assert "Stopped." in demo.output
    wait_until_nothing_is_left({"DATA_DIR": str(folder)})
    assert not theirs.exists()
