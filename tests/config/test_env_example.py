"""`.env.example` is the reference of all variables."""

import os
import re
import subprocess
import sys

import pytest
from django.conf import settings

SETTINGS = (settings.BASE_DIR / "config" / "settings.py").read_text()
EXAMPLE = (settings.BASE_DIR / ".env.example").read_text()
READ = set(re.findall(r'\benv(?:\.\w+\(|,)\s*"([A-Z_]+)"', SETTINGS))


def test_the_example_lists_exactly_the_variables_that_settings_read():
    assert len(READ) > 20
    listed = set(re.findall(r"^([A-Z_]+)=$", EXAMPLE, re.MULTILINE))
    assert listed == READ, "Each variable is a line `NAME=`, without a value: see docs/how-to/add-a-setting.md."


@pytest.mark.parametrize("name", sorted(READ))
def test_each_variable_has_a_line_of_explanation(name):
    is_explained = re.search(rf"^# .{{10,}}\n{name}=$", EXAMPLE, re.MULTILINE)
    assert is_explained, f"Write a comment above {name}= in .env.example: what it does, its unit, its default."


def test_an_unchanged_copy_of_the_example_changes_nothing(tmp_path):
    # manage.py sets what the settings require, since no address is given.
    given = {"PATH": os.environ["PATH"], "DATA_DIR": str(tmp_path), "HOME": str(tmp_path)}
    empty = dict.fromkeys(READ - set(given), "")
    assert shown_settings(given) == shown_settings(given | empty)


def shown_settings(variables):
    program = (
        "from django.conf import settings as s; "
        "others = ('DATABASE', 'REDIS', 'CELERY', 'UNFOLD'); "
        "print({n: getattr(s, n) for n in dir(s) if n.isupper() and not n.startswith(others)})"
    )
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "shell", "-v0", "-c", program]
    shown = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=240, check=True).stdout
    # Where an object lies in memory is not a setting.
    return re.sub(r" at 0x[0-9a-f]+", "", shown)
