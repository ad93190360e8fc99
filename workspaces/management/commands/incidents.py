"""`manage.py incidents`: list open incidents, and release launches that one of them holds."""

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from postgres.clock import database_now
from workspaces.models.incidents import Incident
from workspaces.services.watching import mass_lateness


class Command(BaseCommand):
    help = "List the open incidents. With --let-go, release the late launches that an incident holds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--let-go", type=int, metavar="ID", help="release the launches that this incident holds")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["let_go"] is not None:
            self.release(options["let_go"])
            return
        rows = list(Incident.objects.unresolved().order_by("opened_at", "pk"))
        for row in rows:
            released = f", released by {row.let_go_by}" if row.let_go_at else ""
            self.stdout.write(
                f"{row.pk} {row.kind} {row.scope} since {row.opened_at:%H:%M:%S} UTC{released}: {row.message}"
            )
        self.stdout.write("1 incident is open." if len(rows) == 1 else f"{len(rows)} incidents are open.")

    def release(self, incident_id: int) -> None:
        try:
            by = getpass.getuser()
        except (OSError, KeyError):
            # The user of a container may have no name.
            by = "an operator"
        try:
            incident, number = mass_lateness.release(incident_id=incident_id, by=by, now=database_now())
        except mass_lateness.UnknownIncident as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"Released {number} launches of {incident.scope}. The next sweep fails those that are still late."
        )
