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
        "stopped. The next start continues where this one stopped. See docs/how-to/simulate.md."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        provisioner = get_provisioner(BackendKind.SIMULATED)
        assert isinstance(provisioner, SimulatedProvisioner)  # noqa: S101 (the table of adapters says so)

        async def play() -> int:
            stop = asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            simulator = Simulator(provisioner)
            await simulator.play(stop=stop)
            return simulator.played

        try:
            with hold_simulator_lock(settings.DATA_DIR):
                played = asyncio.run(play())
        except SimulatorAlreadyRunning as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Played {played} launches.")
