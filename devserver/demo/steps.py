"""The steps of `make demo`: launch a simulated fleet, report what happens, compare the outcome with the expectation."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence

from devserver import first_run
from devserver.console import Console
from devserver.demo import fleet
from devserver.demo.fleet import Member, Outcome
from devserver.servers.embedded import LOCALHOST
from devserver.up import Step
from workspaces.models import Workspace
from workspaces.models.incidents import Incident
from workspaces.services.launching import create

# Time to open the browser and log in before the fleet is launched.
TIME_TO_SIGN_IN_SECONDS = 20.0
# In minutes of a real fleet: the longest boot limit (hermes), then time for the sweep and for slow machines.
LASTS_MINUTES = 40
_LOOK_SECONDS = 1.0
# At the usual speed, ten seconds between two lines about the fleet's statuses.
_REPORT_SECONDS = 100


class Demo:
    """A simulated fleet on a running Slipway. Its data is deleted by the next demo."""

    def __init__(
        self, *, port: int, speed: float, members: Sequence[Member], sign_in_seconds: float, console: Console
    ) -> None:
        self.admin = f"http://{LOCALHOST}:{port}/admin/"
        self.speed = speed
        self.console = console
        self.sign_in_seconds = sign_in_seconds
        self.members = members
        self._waiting = list(members)
        self._begins_at = 0.0
        self._outcomes: Mapping[str, Outcome] = {}
        self._incidents = (0, 0)
        self._looked_at = self._reported_at = 0.0
        self._counts = ""

    def steps(self) -> list[Step]:
        """Return what the demo does once the web server answers."""
        return [
            Step(name="introduce the demo", action=self.introduce),
            Step(name="launch the fleet", action=self.launch_due_members, is_done=lambda: not self._waiting),
            Step(name="report what happens", action=self.report_changes, is_done=self.is_over),
            Step(name="compare with the expectations", action=self.print_outcomes),
        ]

    def introduce(self) -> None:
        """Print address, account and what will happen."""
        lines = [
            f"The demo runs at {self.admin}workspaces/workspace/",
            f"User {first_run.OPERATOR}, password {first_run.create_operator()}",
            f"{len(self.members)} simulated workspaces are launched in {self.sign_in_seconds:.0f} seconds: log in and "
            "watch the list.",
            f"One minute here is {self.speed:g} minutes of a real fleet, for limits and boots alike.",
            "Ctrl-C ends it.",
        ]
        self.console.write("\n" + "\n".join(f"  {line}" for line in lines) + "\n")
        self._begins_at = time.monotonic() + self.sign_in_seconds

    def launch_due_members(self) -> None:
        """Launch the members that are due, all at once, so that one sweep finds them late together."""
        while self._waiting and self._waiting[0].begins_seconds <= self._elapsed:
            create_member(self._waiting.pop(0))

    def report_changes(self) -> None:
        """Print new incidents, and from time to time how many workspaces have which status."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        self._outcomes = fleet.outcomes(self.members)
        if (incidents := fleet.count_incident_events()) != self._incidents:
            self._incidents = incidents
            incident = Incident.objects.latest("pk")
            self._print("The incident is resolved." if incident.resolved_at else f"Incident: {incident.message}")
        rows = Workspace.objects.order_by().values_list("status", "held_since")
        counts = _format(Counter("held" if held_since else status for status, held_since in rows))
        if counts != self._counts and now - self._reported_at >= _REPORT_SECONDS / self.speed:
            self._counts, self._reported_at = counts, now
            self._print(counts)

    def is_over(self) -> bool:
        """Return whether every expectation is met and can't be broken by a limit any more, or the time is up."""
        if self._elapsed > LASTS_MINUTES * 60 / self.speed:
            return True
        are_limits_over = self._elapsed > fleet.LONGEST_LIMIT_MINUTES * 60 / self.speed
        opened, resolved = self._incidents
        are_met = all(
            member.name in self._outcomes and member.expectation.is_met_by(self._outcomes[member.name])
            for member in self.members
        )
        return are_limits_over and are_met and opened == resolved

    def print_outcomes(self) -> None:
        """Print the expected and the actual outcome of each group, and where to look."""
        groups = {member.group.name: member.group for member in self.members}
        rows = []
        for name, group in groups.items():
            names = [member.name for member in self.members if member.group.name == name]
            counts = _format(Counter(str(self._outcomes.get(each, "not created")) for each in names))
            rows.append(f"  {name:<13} {group.count:>2}  {group.description:<42} {group.expectation!s:<38} {counts}")
        opened, resolved = self._incidents
        expected = "one incident, opened and resolved"
        rows.append(f"  {'mass lateness':<59} {expected:<38} {opened} opened, {resolved} resolved")
        places = [
            "  Look at:",
            f"    {self.admin}workspaces/workspace/?status=failed   each failure, its reason and the end of its log",
            f"    {self.admin}workspaces/incident/   the incident of the mass lateness",
            f"    {self.admin}   which failures a late arrival undid, the record of the sweep, boot times",
            "  Ctrl-C ends the demo.",
        ]
        self.console.write("\n  What was expected, and what happened:\n\n" + "\n".join([*rows, "", *places]) + "\n")

    def _print(self, text: str) -> None:
        minutes, seconds = divmod(int(self._elapsed), 60)
        self.console.write(f"  {minutes}:{seconds:02}  {text}")

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._begins_at


def create_member(member: Member) -> None:
    """Create a workspace of the fleet and hand its launch to the workers."""
    first_run.create_workspace(create.CreateRequest(name=member.name, config=member.config))


def _format(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {word}" for word, number in sorted(counts.items()))
