"""`manage.py simulate`: plays the agents of the simulated backend."""

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from workspaces.models import BackendKind
from workspaces.provisioners.registry import get_provisioner
from workspaces.provisioners.simulated.provisioner import SimulatedProvisioner
from workspaces.provisioners.simulated.simulator import Simulator, SimulatorAlreadyRunning, hold_simulator_lock


class Command(BaseCommand):
    help = (
        "Play the agents of all launches of the simulated backend (PROVISIONER=simulated) over HTTP, until it is "
        "stopped. Its next start goes on where it stopped. docs/how-to/simulate.md tells how to use it."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        held = get_provisioner(BackendKind.SIMULATED)
        assert isinstance(held, SimulatedProvisioner)  # noqa: S101 (the table of adapters says so)
        try:
            with hold_simulator_lock(settings.DATA_DIR):
                played = asyncio.run(_play(held))
        except SimulatorAlreadyRunning as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Played {played} launches.")


async def _play(held: SimulatedProvisioner) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    simulator = Simulator(held)
    await simulator.play(stop=stop)
    return simulator.played
