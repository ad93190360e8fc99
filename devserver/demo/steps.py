"""`make demo`: a simulated fleet in every condition, and what becomes of it, told as it happens."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from devserver import first_run
from devserver.console import Console
from devserver.demo import fleet
from devserver.demo.fleet import Group, Member, Outcome
from devserver.servers.embedded import LOCALHOST
from devserver.up import DevServer
from postgres.clock import database_now
from workspaces import tasks
from workspaces.models import Workspace
from workspaces.models.incidents import Incident
from workspaces.services.launching import create

# To open the browser and sign in before it begins.
TIME_TO_SIGN_IN_SECONDS = 20.0
# The longest boot that is failed, hermes' limit, and what the sweep and slow machines need after it.
LASTS_MINUTES = 40
_LOOK_SECONDS = 1.0
# Of the field, as the minutes above: ten seconds in a usual demo.
_TELL_MINUTES = 100 / 60


class Demo(DevServer):
    """A run whose workspaces are simulated. Its data is nobody's: the next demo deletes it."""

    def __init__(self, *, port: int, speed: float, seed: int, patience_seconds: float, console: Console) -> None:
        super().__init__(port=port, resumes=False, creates_first=False, console=console)
        self.speed = speed
        self.fleet = fleet.make_fleet(speed=speed, seed=seed)
        self.patience_seconds = patience_seconds
        self._began = 0.0

    def _scenes(self) -> Iterator[None]:
        self._introduce(password=first_run.create_operator())
        yield from _wait(self.patience_seconds)
        self._began = time.monotonic()
        yield from self._launch()
        yield from self._follow()
        self._sum_up()

    def _introduce(self, *, password: str | None) -> None:
        admin = f"http://{LOCALHOST}:{self.port}/admin/"
        lines = [
            f"The demo runs at {admin}workspaces/workspace/",
            f"User {first_run.OPERATOR}, password {password}",
            f"{len(self.fleet)} simulated workspaces are launched in {self.patience_seconds:.0f} seconds: sign in, and "
            "watch the list.",
            f"One minute here is {self.speed:g} minutes of the field, limits and boots alike.",
            "Ctrl-C ends it.",
        ]
        self.console.say("\n" + "\n".join(f"  {line}" for line in lines) + "\n")

    def _launch(self) -> Iterator[None]:
        for member in self.fleet:
            # Those of one moment in one go: late together, they are to be late in one sweep.
            while self._elapsed < member.begins_seconds:
                yield
            create_member(member)

    def _follow(self) -> Iterator[None]:
        """Tell how the statuses change and what the brake does, until every promise is kept or the time is up."""
        told, told_at, heard = "", 0.0, (0, 0)
        while self._elapsed < LASTS_MINUTES * 60 / self.speed and not self._is_settled():
            if (incidents := fleet.count_incident_events()) != heard:
                heard = incidents
                self._tell(_last_incident())
            counts = _counts()
            if counts != told and time.monotonic() - told_at >= _TELL_MINUTES * 60 / self.speed:
                told, told_at = counts, time.monotonic()
                self._tell(counts)
            yield from _wait(_LOOK_SECONDS)

    def _is_settled(self) -> bool:
        seen = fleet.outcomes(self.fleet)
        opened, resolved = fleet.count_incident_events()
        are_kept = all(member.name in seen and member.promise.is_met_by(seen[member.name]) for member in self.fleet)
        return are_kept and opened == resolved and self._elapsed > fleet.LONGEST_LIMIT_MINUTES * 60 / self.speed

    def _sum_up(self) -> None:
        seen = fleet.outcomes(self.fleet)
        opened, resolved = fleet.count_incident_events()
        groups = {member.group.name: member.group for member in self.fleet}
        rows = [
            _row(group, [member for member in self.fleet if member.group is group], seen) for group in groups.values()
        ]
        self.console.say("\n  What was promised, and what became of it:\n\n" + "\n".join(rows))
        promised = "one incident, opened and resolved"
        self.console.say(f"  {'the brake':<59} {promised:<38} {opened} opened, {resolved} resolved\n")
        self.console.say("\n".join(f"  {line}" for line in self._places()) + "\n")

    def _places(self) -> Sequence[str]:
        admin = f"http://{LOCALHOST}:{self.port}/admin/"
        return [
            "Look at:",
            f"  {admin}workspaces/workspace/?status=failed   each failure, its reason and the end of its log",
            f"  {admin}workspaces/incident/   the brake's one incident",
            f"  {admin}   which failures by time a late arrival took back, the sweep's own record, boot times",
            "Ctrl-C ends the demo.",
        ]

    def _tell(self, text: str) -> None:
        minutes, seconds = divmod(int(self._elapsed), 60)
        self.console.say(f"  {minutes}:{seconds:02}  {text}")

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _stop_workspaces(self) -> None:
        """Leave them: they end with the simulator, and nobody launches them again."""


def _wait(seconds: float) -> Iterator[None]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield


def create_member(member: Member) -> None:
    """Create a workspace of the fleet and hand its launch to the workers."""
    request = create.CreateRequest(name=member.name, config=member.config)
    workspace = create.create(request, now=database_now()).workspace
    tasks.enqueue_launch(workspace_id=workspace.pk, launch_id=workspace.launch_id)


def _counts() -> str:
    rows = Workspace.objects.order_by().values_list("status", "held_since")
    counts = Counter("held" if held_since else status for status, held_since in rows)
    return ", ".join(f"{number} {word}" for word, number in sorted(counts.items()))


def _last_incident() -> str:
    incident = Incident.objects.order_by("pk").last()
    if incident is None:
        return "An incident was told."
    return "The incident is resolved." if incident.resolved_at else f"Incident: {incident.message}"


def _row(group: Group, members: Sequence[Member], seen: Mapping[str, Outcome]) -> str:
    became = Counter(str(seen.get(member.name, "not created")) for member in members)
    words = ", ".join(f"{number} {word}" for word, number in sorted(became.items()))
    return f"  {group.name:<13} {group.count:>2}  {group.what:<42} {group.promise!s:<38} {words}"
