"""What tests of the process backend share: launches of small shell commands that leave nothing behind."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from tests.launch_processes import process_inside, processes_of
from tests.waiting import PATIENCE_SECONDS, wait_until
from workspaces.provisioners.base import LaunchKey, LaunchSpec
from workspaces.provisioners.host_processes import find_process, is_alive
from workspaces.provisioners.process.folders import LaunchFolder, ProcessSettings
from workspaces.provisioners.process.provisioner import ProcessProvisioner
from workspaces.provisioners.process.records import record_of

# Nothing listens there: these agents never register, which is all the same to a provisioner.
NOWHERE = "http://127.0.0.1:9"


def kill(process):
    """Kill a process and wait until it is dead."""
    process.kill()
    wait_until(lambda: not is_alive(process))


@dataclass
class ProcessWorld:
    """A process backend in a folder of its own, and the launches made in it."""

    root: Path
    log_bytes: int = 65_536
    keys: list[LaunchKey] = field(default_factory=list)
    cgroup: Path | None = None
    namespaces: int = 0
    inherited: Mapping[str, str] = field(default_factory=lambda: {"PATH": os.environ["PATH"]})

    @property
    def backend(self):
        """Return a new adapter each time: none may remember anything."""
        return ProcessProvisioner(
            ProcessSettings(
                root=self.root,
                log_bytes=self.log_bytes,
                inherited=self.inherited,
                cgroup=self.cgroup,
                namespaces=self.namespaces,
                hidden=(self.root,),
            )
        )

    def spec(self, command="exec sleep 600", *, workspace_id=None, **more):
        key = LaunchKey(workspace_id=workspace_id or uuid4(), launch_id=uuid4())
        self.keys.append(key)
        return LaunchSpec(
            key=key,
            environment={
                "WORKSPACE_ID": str(key.workspace_id),
                "LAUNCH_ID": str(key.launch_id),
                "PLATFORM_URL": NOWHERE,
                **more,
            },
            config={"name": "x", "runtime_config": {"command": command}},
            token="the-token",
            start_timeout_seconds=PATIENCE_SECONDS,
        )

    def started(self, command="exec sleep 600", **more):
        spec = self.spec(command, **more)
        self.backend.start(spec)
        return spec.key

    def folder(self, key):
        return LaunchFolder(self.root, key)

    def members(self, key):
        return processes_of(key.launch_id)

    def agent(self, key):
        return find_process(*record_of(self.folder(key)).agent)

    def supervisor(self, key):
        return find_process(*record_of(self.folder(key)).supervisor)

    def kill_supervisor(self, key):
        kill(self.supervisor(key))

    def inside(self, key, pid):
        """Return the process that the launch's own processes know by this pid."""
        return process_inside(self.agent(key), pid)

    def wait_for_file(self, key, name):
        path = self.folder(key).work / name
        wait_until(path.exists, describe=lambda: f"{name} did not appear")
        return path

    def clean_up(self):
        """End everything, and fail where a stop of the backend had left something."""
        for key in self.keys:
            self.backend.stop(key, timeout_seconds=2)
            left = self.members(key)
            for process in left:
                process.kill()
            assert not left, f"a stop left {len(left)} processes of launch {key.launch_id}"
