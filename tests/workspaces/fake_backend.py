"""The simulated backend without a simulator of its agents. Tests can watch, delay or refuse each call."""

import shutil
import tempfile
import weakref
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from workspaces.models import BackendKind
from workspaces.provisioners import registry
from workspaces.provisioners.base import BackendState, LaunchKey, Observation, ProvisionerError
from workspaces.provisioners.guarded_calls import Calls
from workspaces.provisioners.simulated.provisioner import SimulatedProvisioner


class FakeProvisioner(SimulatedProvisioner):
    """A backend in a temporary folder. Tests control it with `simulate_exit`, `simulate_loss` and the attributes below.

    `before_call` runs first in every call, with the call's name and key: to wait, to raise or to act in between.
    `after_call` runs when a start, a stop or an inspection is done, before the caller gets the answer.
    """

    name = "fake"

    def __init__(self):
        folder = tempfile.mkdtemp(prefix="slipway-fake-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        super().__init__(root=Path(folder))
        self.before_call = lambda call, key: None
        self.after_call = lambda call, key: None
        # While the backend is unreachable, every inspection returns UNKNOWN and every other call raises.
        self.unreachable = False
        # Launches that no stop ends, like a process that hangs in the kernel.
        self.immortal = set()
        self.calls = []
        # The spec that each launch was first started with.
        self.specs = {}

    def start(self, spec):
        """See Provisioner."""
        self._begin_call("start", spec.key)
        self.specs.setdefault(spec.key, spec)
        return self._end_call("start", spec.key, super().start(spec))

    def request_stop(self, key):
        """See Provisioner."""
        self._begin_call("request_stop", key)
        super().request_stop(key)

    def stop(self, key, *, timeout_seconds):
        """See Provisioner."""
        self._begin_call("stop", key)
        return self._end_call("stop", key, super().stop(key, timeout_seconds=timeout_seconds))

    def inspect(self, key, *, with_log=True):
        """See Provisioner."""
        self._record_call("inspect", key)
        if self.unreachable:
            return Observation(state=BackendState.UNKNOWN, detail="The backend can't be reached.")
        return self._end_call("inspect", key, super().inspect(key, with_log=with_log))

    def read_log(self, key, *, offset, most):
        """See Provisioner."""
        self._begin_call("read_log", key)
        return super().read_log(key, offset=offset, most=most)

    def log_size(self, key):
        """See Provisioner."""
        self._begin_call("log_size", key)
        return super().log_size(key)

    def forget(self, key):
        """See Provisioner."""
        self._begin_call("forget", key)
        super().forget(key)

    def destroy(self, workspace_id):
        """See Provisioner."""
        # It concerns all launches of the workspace, so the key has no launch ID.
        self._begin_call("destroy", LaunchKey(workspace_id=workspace_id, launch_id=UUID(int=0)))
        super().destroy(workspace_id)

    def running_launches(self):
        """See Provisioner."""
        self._refuse_if_unreachable()
        return super().running_launches()

    def _end_by_stop(self, key):
        if key not in self.immortal:
            super()._end_by_stop(key)

    def _record_call(self, call, key):
        self.calls.append((call, key))
        self.before_call(call, key)

    def _begin_call(self, call, key):
        self._record_call(call, key)
        self._refuse_if_unreachable()

    def _refuse_if_unreachable(self):
        if self.unreachable:
            raise ProvisionerError("The backend can't be reached.")

    def _end_call(self, call, key, answer):
        self.after_call(call, key)
        return answer


@contextmanager
def fake_backend(*, in_threads=False):
    """Register a new fake in place of the process backend while the block runs.

    Its calls run in the caller's thread, since hooks act on the database in the caller's transaction, unless
    `in_threads`: then they run as in production, and a hook may hang.
    """
    adapter, fake = registry.ADAPTERS[BackendKind.PROCESS], FakeProvisioner()
    registry.ADAPTERS[BackendKind.PROCESS] = lambda: fake
    registry.get_provisioner.cache_clear()
    run = Calls.run
    if not in_threads:
        Calls.run = lambda self, key, act, *, seconds: act()
    try:
        yield fake
    finally:
        Calls.run = run
        registry.ADAPTERS[BackendKind.PROCESS] = adapter
        registry.get_provisioner.cache_clear()
