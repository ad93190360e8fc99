"""`slipway preflight`."""

import tomllib
from pathlib import Path

import pytest
from slipway.commands.preflight import github_line, text_line

from workspaces.models import Workspace

pytestmark = pytest.mark.django_db(transaction=True)
CONFIG = """name: x
runtime: echo
runtime_config:
  required_env: [API_KEY, GREETING]
a2a:
  port: 70000
"""


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    return file


def test_every_problem_is_named_with_its_place(signed_in, file, tmp_path):
    (tmp_path / "env").write_text('GREETING="hello"\nAPI_KEY=\n')
    ended = signed_in("preflight", file, "--env-file", tmp_path / "env")
    assert ended.code == 1
    assert "API_KEY" in ended.out
    assert "GREETING" not in ended.out
    assert f"{file}:6:" in ended.out
    assert Workspace.objects.count() == 0


def test_an_env_file_is_read_by_the_server_and_its_lines_are_named(signed_in, file, tmp_path):
    env_file = tmp_path / "my.env"
    env_file.write_text("# mine\nexport API_KEY=changeme # later\nGREETING='hello\nworld'\nhunter2-hunter2\n")
    ended = signed_in("preflight", file, "--env-file", env_file)
    assert f"{env_file}:2:1: warning: The value of API_KEY looks like a placeholder." in ended.out
    assert f"{env_file}:5:1: error: Line 5 is not NAME=VALUE: it has no equals sign. [bad_env_file]" in ended.out
    assert "missing_env" not in ended.out
    assert "hunter2" not in ended.out + ended.err
    annotated = signed_in("preflight", file, "--env-file", env_file, "-o", "github").out
    assert f"::error file={env_file},line=5,col=1,title=bad_env_file::Line 5 is not" in annotated


def test_a_key_by_the_name_of_the_env_file_is_one_of_the_configuration(signed_in, file):
    file.write_text("runtime: echo\nenv_file: x\n")
    assert f"{file}:2:1: warning: env_file: neither" in signed_in("preflight", file, "--env-file", file).out


def test_the_package_needs_no_parser_of_env_files():
    project = tomllib.loads((Path(__file__).parents[2] / "cli/pyproject.toml").read_text())["project"]
    assert not any("dotenv" in each for each in project["dependencies"])


def test_a_configuration_without_problems_can_be_launched(signed_in, file, tmp_path):
    file.write_text("name: x\nruntime: echo\n")
    report = signed_in("preflight", file, "-o", "json")
    # Whether a worker is there is a problem of this server, not of the file.
    assert '"code": "bad_config"' not in report.out
    assert "missing_env" not in report.out


def test_github_gets_an_annotation_for_each(signed_in, file):
    ended = signed_in("preflight", file, "-o", "github")
    assert ended.code == 1
    assert all(line.startswith(("::error file=", "::warning file=")) for line in ended.out.splitlines())
    assert any(f"file={file},line=6" in line for line in ended.out.splitlines())


def test_a_finding_can_write_no_second_command():
    found = {"code": "x:y,z", "line": 1, "column": 2, "message": "a\n::error::b\x1b[31m%", "hint": None}
    assert github_line("error", found, "f") == "::error file=f,line=1,col=2,title=x%3Ay%2Cz::a ::error::b%25"
    assert text_line("error", found, "f") == "f:1:2: error: a ::error::b% [x:y,z]"


def test_a_file_and_an_env_file_cannot_both_be_the_standard_input(signed_in):
    ended = signed_in("preflight", "-", "--env-file", "-", stdin="runtime: echo\n")
    assert (ended.code, ended.out) == (2, "")
    assert "Only one of these can read the standard input: FILE, --env-file." in ended.err


def test_a_file_that_is_not_there_is_named(signed_in):
    assert signed_in("preflight", "/nowhere").code == 2
