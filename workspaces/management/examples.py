"""The base class of commands whose help ends with examples."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class CommandWithExamples(BaseCommand):
    """Shows `epilog` below its options, with its line breaks."""

    epilog = ""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        formatter = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, epilog=self.epilog, formatter_class=formatter, **kwargs)
