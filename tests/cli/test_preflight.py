"""`slipway preflight`."""

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
