"""`manage.py incidents`: which incidents are open, and an operator's override of the brake."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from postgres.clock import database_now
from workspaces.models.incidents import Incident
from workspaces.services.watching import mass_lateness


class Command(BaseCommand):
    help = "List the open incidents; --let-go lets the brake fail the late launches that one of them holds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--let-go", type=int, metavar="ID", help="hold this incident's launches no longer")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["let_go"] is not None:
            self._let_go(options["let_go"])
            return
        rows = list(Incident.objects.unresolved().order_by("opened_at", "pk"))
        for row in rows:
            let_go = f", let go by {row.let_go_by}" if row.let_go_at else ""
            self.stdout.write(
                f"{row.pk} {row.kind} {row.scope} since {row.opened_at:%H:%M:%S} UTC{let_go}: {row.message}"
            )
        self.stdout.write("1 incident is open." if len(rows) == 1 else f"{len(rows)} incidents are open.")

    def _let_go(self, incident_id: int) -> None:
        try:
            incident, number = mass_lateness.release(incident_id=incident_id, by=_operator(), now=database_now())
        except mass_lateness.UnknownIncident as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Let {number} launches of {incident.scope} go; the next sweep fails who is still late.")


def _operator() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user without a name.
        return "an operator"
