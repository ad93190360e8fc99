"""`manage.py deadlines`: explain limits, and evaluate another boot limit on past launches."""

import re
from argparse import ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agent.texts import printable
from postgres.clock import database_now
from workspaces.configuration import catalog
from workspaces.deadlines.boot_times import evaluate_limit
from workspaces.deadlines.explanation import (
    Limits,
    PhaseLimit,
    known_runtimes,
    limits_of_runtime,
    limits_of_runtimes,
    limits_of_workspace,
)
from workspaces.deadlines.policy import Policy, current_policy
from workspaces.management.examples import CommandWithExamples
from workspaces.management.operation_command import find_workspace_id
from workspaces.models import Launch, Workspace
from workspaces.overview import format_duration, format_time_left

EPILOG = """examples:
  manage.py deadlines
  manage.py deadlines hermes
  manage.py deadlines my-workspace
  manage.py deadlines --replay 30d --runtime hermes --limit 20m
"""
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_OTHERS = "every other runtime"


class Command(CommandWithExamples):
    help = "Explain the limits of a runtime or a workspace, or evaluate another boot limit on past launches."
    epilog = EPILOG

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", nargs="?", default="", help="a runtime, or a workspace's ID or unique name")
        parser.add_argument("--replay", type=duration, metavar="30d", help="evaluate a limit on this many past days")
        parser.add_argument("--runtime", default="", help="with --replay: the runtime of the launches")
        parser.add_argument("--limit", type=duration, metavar="20m", help="with --replay: the boot limit to evaluate")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["replay"] or options["limit"] or options["runtime"]:
            self.stdout.write(evaluation(options))
            return
        for line in explanation(options["subject"], policy=current_policy()):
            self.stdout.write(printable(line))


def explanation(subject: str, *, policy: Policy) -> list[str]:
    """Return the limits of a runtime or a workspace, or of all runtimes. Raises CommandError if there is neither."""
    templates = catalog.list_templates()
    if not subject:
        every = limits_of_runtimes(policy=policy, templates=templates)
        return [line for limits in every for line in lines_of(limits)]
    is_runtime = subject in known_runtimes() or Launch.objects.filter(runtime=subject).exists()
    named = Workspace.objects.not_removed().filter(name=subject.replace("\0", ""))
    if is_runtime and not named.exists():
        return lines_of(limits_of_runtime(subject, policy=policy, templates=templates))
    workspace = Workspace.objects.get(pk=find_workspace_id(subject))
    return lines_of(limits_of_workspace(workspace, policy=policy))


def lines_of(limits: Limits) -> list[str]:
    """Return the limits in words, and of a workspace the deadline that counts now."""
    workspace = limits.workspace
    title = f"{workspace.name} ({limits.runtime})" if workspace else limits.runtime or _OTHERS
    lines = [f"{title}:", *map(limit_line, limits.phases), *(f"  Warning: {text}" for text in limits.warnings)]
    if workspace is None or limits.current is None:
        return lines
    if workspace.stall_timeout_seconds:
        stall = format_duration(workspace.stall_timeout_seconds)
        lines.append(f"  a boot step   {stall}, from runtime_config.stall_timeout_seconds; each new step restarts it")
    deadline, state = limits.current, workspace.phase or workspace.status
    if deadline.at is None:
        return [*lines, f"It is {workspace.status} and has no deadline: 0 limits count now."]
    left = format_time_left(round((deadline.at - database_now()).total_seconds()))
    which = "the stall limit" if deadline.is_stall else f"the limit for {state}"
    return [*lines, f"It is {state}; {which} passes {left} ({deadline.at:%Y-%m-%d %H:%M:%S} UTC)."]


def limit_line(each: PhaseLimit) -> str:
    other = f"{each.other_description} {format_duration(each.other_seconds)}"
    return f"  {each.phase:<13} {format_duration(each.limit.seconds)}, from {each.origin}; {other}"


def evaluation(options: dict[str, Any]) -> str:
    """Return the effect that another boot limit would have had on past launches. Raises CommandError."""
    missing = [f"--{name}" for name in ("replay", "runtime", "limit") if not options[name]]
    if missing:
        raise CommandError(f"Give {' and '.join(missing)} too: --replay 30d --runtime hermes --limit 20m.")
    limit, age = options["limit"], options["replay"]
    runtime, period = printable(options["runtime"]), format_duration(age.total_seconds())
    result = evaluate_limit(runtime=options["runtime"], limit=limit, since=database_now() - age)
    if not result.healthy and not result.failed:
        return f"0 launches of {runtime} booted in the last {period}: nothing to evaluate."
    minutes = round(result.saved.total_seconds() / 60)
    waiting = f"saved {minutes} minutes of waiting" if minutes >= 0 else f"cost {-minutes} more minutes of waiting"
    return (
        f"A limit of {format_duration(limit.total_seconds())} would have failed {result.false_timeouts} of "
        f"{result.healthy} healthy boots of {runtime} in the last {period} (the longest took "
        f"{format_duration(result.longest.total_seconds())}), and {waiting} for {result.failed} that failed."
    )


def duration(text: str) -> timedelta:
    """Return the duration of a text such as 20m. Raises ArgumentTypeError."""
    match = re.fullmatch(r"([1-9]\d{0,5})([smhdw])", text)
    if match is None:
        raise ArgumentTypeError(f"{text!r} is not a duration. Give a whole number and s, m, h, d or w, such as 20m.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
