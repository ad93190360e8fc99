"""The simulator: one process plays the agents of all simulated launches on this host."""

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from workspaces.provisioners.base import LaunchKey, ProvisionerError
from workspaces.provisioners.simulated.agents import SimulatedAgent
from workspaces.provisioners.simulated.provisioner import SimulatedLaunch, SimulatedProvisioner

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
_TIMEOUT_SECONDS = 10.0
_CONNECTIONS = httpx.Limits(max_connections=200, max_keepalive_connections=200)


class SimulatorAlreadyRunning(Exception):
    """Another simulator plays the agents of this folder. Stop it first."""


@contextmanager
def hold_simulator_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock during the block, because two simulators would play each agent twice.

    Raises SimulatorAlreadyRunning.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "simulator.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise SimulatorAlreadyRunning(SimulatorAlreadyRunning.__doc__) from None
    finally:
        os.close(descriptor)


class Simulator:
    """Plays the agents of the backend's launches until it is stopped. The next simulator continues with them."""

    def __init__(self, backend: SimulatedProvisioner) -> None:
        self._backend = backend
        self._agents: dict[LaunchKey, asyncio.Task[None]] = {}
        # Launches whose files could not be read. Each is logged once.
        self._unreadable: set[LaunchKey] = set()
        self._is_backend_away = False
        # How many launches it has played.
        self.played = 0

    async def play(self, *, stop: asyncio.Event) -> None:
        """Play the agent of each launch that appears, and stop it when the launch is stopped, until `stop` is set."""
        # The platform is on this host, so no proxy of the environment applies.
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, limits=_CONNECTIONS, trust_env=False) as http:
            try:
                while not stop.is_set():
                    self._follow_backend(http)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            finally:
                tasks = list(self._agents.values())
                self._agents.clear()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _follow_backend(self, http: httpx.AsyncClient) -> None:
        """Start the agents of new launches and cancel those of stopped ones."""
        try:
            running = set(self._backend.running_launches())
        except ProvisionerError as error:
            if not self._is_backend_away:
                logger.warning("The simulated launches could not be read", extra={"detail": str(error)})
            self._is_backend_away = True
            return
        self._is_backend_away = False
        for key in self._agents.keys() - running:
            self._agents.pop(key).cancel()
        self._unreadable &= running
        for key in running - self._agents.keys():
            self._start_agent(key, http)

    def _start_agent(self, key: LaunchKey, http: httpx.AsyncClient) -> None:
        try:
            launch = self._backend.running_launch(key)
        except ProvisionerError as error:
            # The other launches are played. This one is tried again at each look, because its file may be repaired.
            if key not in self._unreadable:
                details = {"launch_id": key.launch_id, "detail": str(error)}
                logger.warning("A simulated launch could not be read", extra=details)
            self._unreadable.add(key)
            return
        self._unreadable.discard(key)
        if launch is not None:
            self._agents[key] = asyncio.create_task(self._run_agent(key, launch, http))
            self.played += 1

    async def _run_agent(self, key: LaunchKey, launch: SimulatedLaunch, http: httpx.AsyncClient) -> None:
        try:
            await SimulatedAgent(key, launch, backend=self._backend, http=http).run()
        except Exception:
            # The launch stays as it is, and the others are played on.
            logger.exception("A simulated agent broke", extra={"launch_id": key.launch_id})
