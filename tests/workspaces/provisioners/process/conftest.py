"""A process backend for each test, with each kind of containment and without any."""

import pytest

from tests.workspaces.provisioners.process.process_world import ProcessWorld
from workspaces.provisioners.process import cgroups, namespaces

IN_NAMESPACES = {
    "in a namespace": namespaces.PID,
    "in a namespace as an ordinary user": namespaces.PID | namespaces.USER,
}
WORLDS = [
    "without containment",
    pytest.param("in a cgroup", marks=pytest.mark.cgroup),
    pytest.param("in a namespace", marks=pytest.mark.namespace),
    pytest.param("in a namespace as an ordinary user", marks=pytest.mark.user_namespace),
]


def make_world(folder, containment):
    """Return a process backend with a kind of containment."""
    return ProcessWorld(
        folder / "root",
        cgroup=cgroups.of_process() if containment == "in a cgroup" else None,
        namespaces=IN_NAMESPACES.get(containment, 0),
    )


@pytest.fixture(params=WORLDS)
def world(request, tmp_path):
    made = make_world(tmp_path, request.param)
    yield made
    made.clean_up()


@pytest.fixture(params=WORLDS[:2])
def shared_world(request, tmp_path):
    """A backend whose launches share the host's pid namespace."""
    made = make_world(tmp_path, request.param)
    yield made
    made.clean_up()


@pytest.fixture(params=WORLDS[2:])
def secluded_world(request, tmp_path):
    """A backend whose launches have a pid namespace each."""
    made = make_world(tmp_path, request.param)
    yield made
    made.clean_up()


@pytest.fixture
def free_world(tmp_path):
    made = make_world(tmp_path, "without containment")
    yield made
    made.clean_up()
