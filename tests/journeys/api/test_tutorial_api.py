"""docs/tutorial-api.md is run as it stands: each block of commands prints what the page says."""

import re
import subprocess
from itertools import chain

import pytest
from django.conf import settings

from tests.waiting import PATIENCE_SECONDS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.journey]
PAGE = settings.BASE_DIR / "docs/tutorial-api.md"
_BLOCK = re.compile(r"^```bash\n(.*?)^```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_END = "--- end of block ---"


def matches(pattern, printed):
    """Return whether a line is as the page says, where … stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("…"))), printed)


def test_each_block_of_the_tutorial_prints_what_the_page_says(stack, tmp_path):
    blocks = _BLOCK.findall(PAGE.read_text())
    assert len(blocks) == PAGE.read_text().count("```bash")
    stack.start()
    (tmp_path / ".venv").symlink_to(settings.BASE_DIR / ".venv")
    (tmp_path / "manage.py").symlink_to(settings.BASE_DIR / "manage.py")
    script = "".join(chain.from_iterable((commands, f"echo '{_END}'\n") for commands, _ in blocks))
    environment = {**stack.environment, "URL": f"http://127.0.0.1:{stack.port}", "NO_PROXY": "*"}
    run = subprocess.run(
        ["bash", "-u"],
        input=script,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=5 * PATIENCE_SECONDS,
        check=False,
    )
    printed = [part.strip().splitlines() for part in run.stdout.split(_END)[:-1]]
    assert len(printed) == len(blocks), run.stdout + run.stderr
    for (commands, expected), lines in zip(blocks, printed, strict=True):
        wanted = expected.strip().splitlines()
        is_right = len(lines) == len(wanted) and all(map(matches, wanted, lines))
        assert is_right, f"{commands}\nprinted\n{lines}\nnot\n{wanted}\n{run.stderr}"
