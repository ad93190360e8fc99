"""A process backend for each test, without and with a cgroup for each launch."""

import pytest

from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.provisioners.process import cgroups


@pytest.fixture(params=["without a cgroup", pytest.param("in a cgroup", marks=pytest.mark.cgroup)])
def world(request, tmp_path):
    made = ProcessWorld(tmp_path / "root", cgroup=cgroups.of_process() if request.param == "in a cgroup" else None)
    yield made
    made.clean_up()
