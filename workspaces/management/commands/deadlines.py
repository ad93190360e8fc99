"""`manage.py deadlines`: which limit applies, where it comes from, and what another one would have done."""

import argparse
import re
from argparse import ArgumentTypeError
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from postgres.clock import database_now
from workspaces.deadlines.boot_times import evaluate_limit
from workspaces.deadlines.explanation import (
    PhaseLimit,
    current_deadline,
    known_runtimes,
    phase_limits,
    runtime_phase_limits,
)
from workspaces.deadlines.policy import Policy, current_policy
from workspaces.management.operation_command import find_workspace_id
from workspaces.models import Launch, Workspace
from workspaces.overview import format_duration, format_time_left, printable

EPILOG = """examples:
  manage.py deadlines
  manage.py deadlines hermes
  manage.py deadlines my-workspace
  manage.py deadlines --replay 30d --runtime hermes --limit 20m
"""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_OTHERS = "every other runtime"


class Command(BaseCommand):
    help = "Explain which deadline applies to a runtime or a workspace, and replay past launches with another limit."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", nargs="?", default="", help="a runtime, a workspace's id or its unique name")
        parser.add_argument("--replay", type=_duration, metavar="30d", help="look at the launches of this long")
        parser.add_argument("--runtime", default="", help="with --replay: whose launches")
        parser.add_argument("--limit", type=_duration, metavar="20m", help="with --replay: the boot limit to try")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["replay"] or options["limit"] or options["runtime"]:
            self.stdout.write(_replayed(options))
            return
        for line in _explained(options["subject"], policy=current_policy()):
            self.stdout.write(printable(line))


def _explained(subject: str, *, policy: Policy) -> list[str]:
    if not subject:
        lines = [line for name in known_runtimes() for line in _of_runtime(name, policy=policy)]
        return lines + _of_runtime(_OTHERS, policy=policy)
    is_runtime = subject in known_runtimes() or Launch.objects.filter(runtime=subject).exists()
    named = Workspace.objects.not_removed().filter(name=subject.replace("\0", ""))
    if is_runtime and not named.exists():
        return _of_runtime(subject, policy=policy)
    return _of_workspace(Workspace.objects.get(pk=find_workspace_id(subject)), policy=policy)


def _of_runtime(runtime: str, *, policy: Policy) -> list[str]:
    return [f"{runtime}:", *_lines(runtime_phase_limits(runtime, policy=policy))]


def _of_workspace(workspace: Workspace, *, policy: Policy) -> list[str]:
    lines = [f"{workspace.name} ({workspace.runtime}):", *_lines(phase_limits(workspace, policy=policy))]
    if workspace.stall_timeout_seconds:
        stall = format_duration(workspace.stall_timeout_seconds)
        lines.append(
            f"  a boot step   {stall}, from runtime_config.stall_timeout_seconds; each new step begins it anew"
        )
    return [*lines, _present(workspace, policy=policy)]


def _lines(limits: Sequence[PhaseLimit]) -> list[str]:
    return [
        f"  {each.phase:<13} {format_duration(each.limit.seconds)}, from {each.origin}{_inner(each)}" for each in limits
    ]


def _inner(each: PhaseLimit) -> str:
    return f"; {each.inner_description} {format_duration(each.limit.inner_seconds)}" if each.inner_description else ""


def _present(workspace: Workspace, *, policy: Policy) -> str:
    force, now = current_deadline(workspace, policy=policy), database_now()
    if force.at is None:
        return f"It is {workspace.status} and has no deadline: 0 limits count against it now."
    left = format_time_left(round((force.at - now).total_seconds()))
    which = "the stall limit" if force.is_stall else f"the limit for {workspace.phase or workspace.status}"
    return f"It is {workspace.phase or workspace.status}; {which} passes {left} ({force.at:%Y-%m-%d %H:%M:%S} UTC)."


def _replayed(options: dict[str, Any]) -> str:
    missing = [f"--{name}" for name in ("replay", "runtime", "limit") if not options[name]]
    if missing:
        raise CommandError(f"Give {' and '.join(missing)} too: --replay 30d --runtime hermes --limit 20m.")
    runtime, limit, age = options["runtime"], options["limit"], options["replay"]
    found = evaluate_limit(runtime=runtime, limit=limit, since=database_now() - age)
    period = format_duration(age.total_seconds())
    if not found.healthy and not found.failed:
        return f"0 launches of {printable(runtime)} booted in the last {period}: nothing to replay."
    minutes = round(found.saved.total_seconds() / 60)
    waiting = f"saved {minutes} minutes of waiting" if minutes >= 0 else f"cost {-minutes} minutes more of waiting"
    return (
        f"A limit of {format_duration(limit.total_seconds())} would have killed {found.killed} of {found.healthy} "
        f"healthy boots of {printable(runtime)} in the last {period} (the longest took "
        f"{format_duration(found.longest.total_seconds())}), and {waiting} at {found.failed} that failed."
    )


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9]\d{0,5})([smhdw])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is no duration: give a whole number and s, m, h, d or w, such as 20m.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
