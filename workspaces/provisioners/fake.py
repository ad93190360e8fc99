"""A backend in memory for unit tests, held to the same contract tests as the real ones."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from uuid import UUID

from workspaces.provisioners.base import BackendState, LaunchKey, LaunchSpec, Observation, ProvisionerError

FIRST_PORT = 20_000


@dataclass
class FakeProvisioner:
    """Keeps one observation per launch; tests change what happened with `exits`, `vanishes` and the fields.

    `before_call` runs first in every call, with its name and key: to wait, to raise, to act in between.
    """

    name: str = "fake"
    before_call: Callable[[str, LaunchKey], None] = lambda call, key: None
    # The backend can't be asked: every inspection says UNKNOWN, every other call raises.
    unreachable: bool = False
    # Launches that no stop ends, as a process that the kernel holds.
    immortal: set[LaunchKey] = field(default_factory=set)
    specs: dict[LaunchKey, LaunchSpec] = field(default_factory=dict)
    calls: list[tuple[str, LaunchKey]] = field(default_factory=list)
    _objects: dict[LaunchKey, Observation] = field(default_factory=dict)
    _barred: set[LaunchKey] = field(default_factory=set)

    def start(self, spec: LaunchSpec) -> Observation:
        """See Provisioner."""
        self._asked("start", spec.key)
        if spec.key in self._barred:
            raise ProvisionerError("This launch was stopped before it was started.")
        url = f"http://127.0.0.1:{FIRST_PORT + len(self.specs)}"
        self.specs.setdefault(spec.key, spec)
        return self._objects.setdefault(spec.key, Observation(state=BackendState.RUNNING, url=url))

    def request_stop(self, key: LaunchKey) -> None:
        """See Provisioner."""
        self._asked("request_stop", key)
        self._end(key, exit_code=0)

    def stop(self, key: LaunchKey, *, timeout_seconds: float) -> Observation:
        """See Provisioner."""
        self._asked("stop", key)
        if key not in self._objects:
            self._barred.add(key)
        self._end(key, exit_code=0)
        return self._seen(key)

    def inspect(self, key: LaunchKey) -> Observation:
        """See Provisioner."""
        self.calls.append(("inspect", key))
        self.before_call("inspect", key)
        if self.unreachable:
            return Observation(state=BackendState.UNKNOWN, detail="The backend can't be reached.")
        return self._seen(key)

    def forget(self, key: LaunchKey) -> None:
        """See Provisioner."""
        self._asked("forget", key)
        self._refuse_if_running(key)
        self._objects.pop(key, None)
        self._barred.discard(key)

    def destroy(self, workspace_id: UUID) -> None:
        """See Provisioner."""
        keys = [key for key in self._objects if key.workspace_id == workspace_id]
        for key in keys:
            self._asked("destroy", key)
            self._refuse_if_running(key)
        for key in keys:
            del self._objects[key]

    def held(self) -> list[LaunchKey]:
        """See Provisioner."""
        if self.unreachable:
            raise ProvisionerError("The backend can't be reached.")
        return [key for key, seen in self._objects.items() if seen.state is BackendState.RUNNING]

    def exits(self, key: LaunchKey, *, exit_code: int | None, log_tail: str = "") -> None:
        """Let the object end by itself; None: nobody learned its code."""
        self._objects[key] = Observation(state=BackendState.EXITED, exit_code=exit_code, log_tail=log_tail)

    def says(self, key: LaunchKey, *, log_tail: str) -> None:
        """Let the object write to its log, and run on."""
        self._objects[key] = replace(self._objects[key], log_tail=log_tail)

    def vanishes(self, key: LaunchKey) -> None:
        """Let the backend lose the object."""
        self._objects.pop(key, None)

    def _asked(self, call: str, key: LaunchKey) -> None:
        self.calls.append((call, key))
        self.before_call(call, key)
        if self.unreachable:
            raise ProvisionerError("The backend can't be reached.")

    def _seen(self, key: LaunchKey) -> Observation:
        return self._objects.get(
            key, Observation(state=BackendState.MISSING, detail="No such launch was ever started.")
        )

    def _end(self, key: LaunchKey, *, exit_code: int) -> None:
        seen = self._objects.get(key)
        if seen is not None and seen.state is BackendState.RUNNING and key not in self.immortal:
            self._objects[key] = replace(seen, state=BackendState.EXITED, exit_code=exit_code, url="")

    def _refuse_if_running(self, key: LaunchKey) -> None:
        if self._seen(key).state is BackendState.RUNNING:
            raise ProvisionerError(f"Launch {key.launch_id} still runs. Stop it first.")
