"""The base class of commands whose help ends with examples."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser


class CommandWithExamples(BaseCommand):
    """Shows `epilog` below its options, with its line breaks, and refuses arguments that are not UTF-8 text."""

    epilog = ""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        formatter = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, epilog=self.epilog, formatter_class=formatter, **kwargs)

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raises CommandError for bytes that are not UTF-8, except in the path of a file."""
        for name, value in options.items():
            for text in value if isinstance(value, list) else [value]:
                # Python keeps each such byte of an argument as half of a surrogate pair.
                if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
                    raise CommandError(f"The argument {name} is not UTF-8 text.", returncode=2)
        return super().execute(*args, **options)  # dynamic-sql: runs the command, no SQL
