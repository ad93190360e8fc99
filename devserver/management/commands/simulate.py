"""`manage.py simulate`: plays the agents of the simulated backend."""

import asyncio
import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from workspaces.models import BackendKind
from workspaces.provisioners.registry import backend
from workspaces.provisioners.simulated.provisioner import SimulatedProvisioner
from workspaces.provisioners.simulated.simulator import AlreadyPlayed, Simulator, alone


class Command(BaseCommand):
    help = (
        "Play the agents of all launches of the simulated backend (PROVISIONER=simulated) over HTTP, until it is "
        "stopped. Its next start goes on where it stopped. docs/how-to/simulate.md tells how to use it."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        held = backend(BackendKind.SIMULATED)
        assert isinstance(held, SimulatedProvisioner)  # noqa: S101 (the table of adapters says so)
        try:
            with alone(settings.DATA_DIR):
                played = asyncio.run(_play(held))
        except AlreadyPlayed as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Played {played} launches.")


async def _play(held: SimulatedProvisioner) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    simulator = Simulator(held)
    await simulator.play(stop=stop)
    return simulator.played
