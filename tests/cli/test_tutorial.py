"""cli/README.md: its tutorial, against `make up` and with the command in an empty environment, and its exit codes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from slipway.errors import ExitCode

from tests.journeys.test_up import Up
from tests.waiting import PATIENCE_SECONDS

README = (settings.BASE_DIR / "cli" / "README.md").read_text()
PROMPT = "$ "
PORT = "8000"


def steps():
    """Yield each command of the tutorial with the output that it promises."""
    tutorial = README.split("\n## Tutorial\n")[1].split("\n## ")[0]
    for block in re.findall(r"```console\n(.*?)```", tutorial, re.DOTALL):
        command, promised = "", []
        for line in block.splitlines():
            if line.startswith(PROMPT):
                if command:
                    yield command, "\n".join(promised)
                command, promised = line.removeprefix(PROMPT), []
            else:
                promised.append(line)
        yield command, "\n".join(promised)


def pattern(promised):
    """Return the expression for an output. `…` stands for any text, alone on a line for any lines, or none."""
    lines = [".*" if line == "…" else re.escape(line).replace("…", "[^\n]*") for line in promised.splitlines()]
    return re.compile("\n".join(lines).replace(".*\n", "(?:.*\n)?").replace("\n.*", "(?:\n.*)?"), re.DOTALL)


@pytest.mark.journey
@pytest.mark.timeout(1200)
def test_the_tutorial_works_in_an_empty_environment(tmp_path):
    # Where the tutorial makes one. Each command has a shell of its own, and what one activates is lost for the next.
    empty = tmp_path / "slipway-cli"
    python = Path(sys.base_prefix) / "bin"
    home = {"HOME": str(tmp_path), "DATA_DIR": str(tmp_path / "data"), "LANG": "C.UTF-8"}
    up = Up("--no-first-workspace", variables={**home, "PATH": os.environ["PATH"]})
    indexes = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    variables = {
        **home,
        **indexes,
        "PATH": f"{empty}/bin:{python}:{os.environ['PATH']}",
        "SLIPWAY_CONFIG_DIR": str(tmp_path),
    }
    try:
        up.wait_for("Ctrl-C stops everything.")
        for command, promised in steps():
            ran = in_shell(command.replace(PORT, str(up.port)), tmp_path, variables)
            assert ran.returncode == 0, f"{command}\n{ran.stdout}"
            expected = pattern(promised.replace(PORT, str(up.port)))
            assert expected.fullmatch(ran.stdout.rstrip("\n")), f"{command}\n{ran.stdout}"
        listed = subprocess.run([empty / "bin" / "pip", "list"], capture_output=True, text=True, check=True)
        assert not re.search("(?i)^django", listed.stdout, re.MULTILINE)
    finally:
        up.close()


def in_shell(command, tmp_path, variables):
    """Run a command as a reader of the tutorial does, and read what the terminal shows."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=tutorial_folder(tmp_path),
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=4 * PATIENCE_SECONDS,
    )


def tutorial_folder(tmp_path):
    """Return a folder that looks like the clone, so that nothing is written into it."""
    folder = tmp_path / "clone"
    if not folder.exists():
        folder.mkdir()
        for path in settings.BASE_DIR.iterdir():
            if path.name != ".data":
                (folder / path.name).symlink_to(path)
    return folder


def test_every_exit_code_is_documented():
    table = README.split("| exit code | |")[1].split("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(ExitCode)
