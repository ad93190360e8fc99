"""The simulator: one process that plays the agents of all simulated launches of this host."""

import asyncio
import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    """Another simulator plays the agents of this folder; end that one first."""


@contextmanager
def hold_simulator_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's lock meanwhile: two would play each agent twice. Raises SimulatorAlreadyRunning."""
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
    """Plays what the backend holds until it is told to stop. Its launches stay: the next one goes on with them."""

    def __init__(self, backend: SimulatedProvisioner) -> None:
        self._backend = backend
        self._agents: dict[LaunchKey, asyncio.Task[None]] = {}
        # What was told once is not told again at each look.
        self._unreadable: set[LaunchKey] = set()
        self._is_backend_away = False
        self.played = 0

    async def play(self, *, stop: asyncio.Event) -> None:
        """Begin with each launch that appears, leave off with each that was stopped."""
        # A proxy of this host's environment is none between it and itself.
        async with httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, limits=_CONNECTIONS, trust_env=False) as http:
            try:
                while not stop.is_set():
                    self._look(http)
                    await _pause(stop)
            finally:
                await self._leave(list(self._agents))

    def _look(self, http: httpx.AsyncClient) -> None:
        held = self._held()
        if held is None:
            return
        for key in self._agents.keys() - held:
            self._agents.pop(key).cancel()
        self._unreadable &= held
        for key in held - self._agents.keys():
            self._begin(key, http)

    def _held(self) -> set[LaunchKey] | None:
        try:
            held = set(self._backend.running_launches())
        except ProvisionerError as error:
            if not self._is_backend_away:
                logger.warning("What is to be played could not be read", extra={"detail": str(error)})
            self._is_backend_away = True
            return None
        self._is_backend_away = False
        return held

    def _begin(self, key: LaunchKey, http: httpx.AsyncClient) -> None:
        played = self._read(key)
        if played is not None:
            self._agents[key] = asyncio.create_task(_live(key, played, self._backend, http))
            self.played += 1

    def _read(self, key: LaunchKey) -> SimulatedLaunch | None:
        try:
            played = self._backend.running_launch(key)
        except ProvisionerError as error:
            # The others are played; this one is asked for at each look, since it may be mended.
            if key not in self._unreadable:
                logger.warning(
                    "A simulated launch could not be read", extra={"launch_id": key.launch_id, "detail": str(error)}
                )
            self._unreadable.add(key)
            return None
        self._unreadable.discard(key)
        return played

    async def _leave(self, keys: list[LaunchKey]) -> None:
        tasks = [self._agents.pop(key) for key in keys]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _live(
    key: LaunchKey, played: SimulatedLaunch, backend: SimulatedProvisioner, http: httpx.AsyncClient
) -> None:
    try:
        await SimulatedAgent(key, played, backend=backend, http=http).live()
    except Exception:
        # One that can't be played stays as it is; the others are played on.
        logger.exception("A simulated agent broke", extra={"launch_id": key.launch_id})


async def _pause(stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
    except TimeoutError:
        return
