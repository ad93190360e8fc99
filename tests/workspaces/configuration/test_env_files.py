"""Env files: python-dotenv's syntax without interpolation, and errors that name the line but not what it holds."""

import io
import re
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from tests.callers import holder
from tests.growth import assert_grows_linearly, at_most
from workspaces.access import secrets
from workspaces.configuration.env_files import BadAssignment, parse_assignments
from workspaces.configuration.secret_files import given_secrets, read_env_secrets
from workspaces.models import ApiScope, Workspace

PEM = "-----BEGIN KEY-----\nMII\n-----END KEY-----\n"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1\nB=two words\nA=3\n", {"A": "3", "B": "two words"}),
        ("# comment\n\n  A = 1 \n", {"A": "1"}),
        ("export A=1\nexportB=2", {"A": "1", "exportB": "2"}),
        ("A='one'\nB=\"two\"\nC=it's", {"A": "one", "B": "two", "C": "it's"}),
        (f"KEY='{PEM}'\nA=1", {"KEY": PEM, "A": "1"}),
        (f'KEY="{PEM}"'.replace("\n", "\r\n") + "\r\nA=1\r\n", {"KEY": PEM, "A": "1"}),
        ("A=\"first\\nsecond\"\nB='no\\nbreak'", {"A": "first\nsecond", "B": "no\\nbreak"}),
        ("A=$HOME\nB=${A}x\nC='$A'", {"A": "$HOME", "B": "${A}x", "C": "$A"}),
        ("A=1 # comment\nB=a#b\nC='1 # 2'", {"A": "1", "B": "a#b", "C": "1 # 2"}),
        ("A=\nB=''", {"A": "", "B": ""}),
        ("\ufeffA=1", {"A": "1"}),
        ("URL=https://h/v1   # note", {"URL": "https://h/v1"}),
        ('K="sk"  # x', {"K": "sk"}),
        ('K="a\nQUJD=="', {"K": "a\nQUJD=="}),
        ("K='a\n\nQUJD=='\nB=1", {"K": "a\n\nQUJD==", "B": "1"}),
        ("A=1\u2028B=2\x0cC=3\x85D=4\nE=5", {"A": "1\u2028B=2\x0cC=3\x85D=4", "E": "5"}),
        ("A='='\nB=x=y==", {"A": "=", "B": "x=y=="}),
        ("", {}),
    ],
)
def test_an_env_file_is_read(text, values):
    assert parse_assignments(text) == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\n\ns3cr3t\n", "Line 3 is not NAME=VALUE: it has no equals sign."),
        ("A=1\n=s3cr3t\n", "Line 2 is not NAME=VALUE: a name has letters"),
        ("1A=s3cr3t", "Line 1 is not NAME=VALUE: a name has letters"),
        ("s3cr3t-key=s3cr3t", "Line 1 is not NAME=VALUE: a name has letters"),
        ("A=1\nB='s3cr3t\nC=2\n", "Line 2 has a quote that is never closed"),
        ('A="two\nlines"\n\nB="s3cr3t', "Line 4 has a quote that is never closed"),
        ('K="s3cr3t', "Line 1 has a quote that is never closed"),
        ("K=s3cr3t\ns3cr3t==", "Line 2 looks like the rest of a value that begins further up"),
        ("K=s3cr3t\n s3cr3t= # pad\nB", "Line 3 is not NAME=VALUE: it has no equals sign."),
        ("A=" + " " * 300 + "s3cr3t", "Line 1 has more than 200 spaces in a row."),
        ("A='s3'cr3t", "Line 1 has a quote that is never closed, or text after its closing quote."),
    ],
)
def test_an_error_names_its_line_without_repeating_it(text, message):
    with pytest.raises(BadAssignment) as refusal:
        parse_assignments(text)
    assert str(refusal.value).startswith(message)
    assert "s3cr3t" not in str(refusal.value)


def test_all_problems_of_a_file_are_named_at_once_in_the_order_of_its_lines():
    with pytest.raises(BadAssignment) as refusal:
        read_env_secrets("A=\ns3cr3t\nPORT=1\nB=ok\n1X=s3cr3t\nHOME=/x\nL=" + "x" * 70_000 + "\nN=a\0b\nC='s3cr3t\n")
    lines = [f"Line {line}" for line in (2, 3, 5, 6, 7, 8, 9)]
    positions = [str(refusal.value).index(line) for line in lines]
    assert positions == sorted(positions)
    assert "s3cr3t" not in str(refusal.value)


def test_a_long_run_of_spaces_is_named_beside_the_other_problems_of_the_file():
    run = " " * 201
    text = f"A={run}x{run}y\ns3cr3t\n\nB='one\n{run}two'\n\t{run}\nPORT=1\nC='s3cr3t{run}\n"
    with pytest.raises(BadAssignment) as refusal:
        read_env_secrets(text)
    sentences = str(refusal.value).split(". ")
    assert [sentence.split()[1].strip(":") for sentence in sentences] == ["1", "2", "5", "6", "7", "8", "8"]
    assert [index for index, sentence in enumerate(sentences) if "more than 200 spaces" in sentence] == [0, 2, 3, 6]
    assert "s3cr3t" not in str(refusal.value)


def test_blank_values_are_not_set_and_listed():
    found = read_env_secrets("A=\nB=''\nC=  # your key\nPORT=\nD=ok\nE=1\nE=\n")
    assert found.values == {"D": "ok"}
    assert found.not_set == ["A", "B", "C", "PORT", "E"]


def test_the_example_of_the_docs_means_what_they_say():
    page = Path(settings.BASE_DIR, "docs/how-to/give-secrets.md").read_text()
    (example,) = re.findall(r"```\n(# A comment.*?)```", page, re.DOTALL)
    found = read_env_secrets(example)
    assert found.values == {
        "A_KEY": "value",
        "B_KEY": "sk-#1",
        "C_KEY": "first line\nsecond line",
        "D_KEY": "first\nsecond",
        "E_KEY": "$HOME/${A_KEY}",
    }
    assert found.not_set == ["OPENAI_API_KEY"]


def test_many_problems_and_many_blanks_are_cut():
    with pytest.raises(BadAssignment, match=r"Line 20 .* And 4980 more\.") as refusal:
        read_env_secrets("bad line\n" * 5000)
    assert len(str(refusal.value)) < 2000
    [warning] = given_secrets({}, env_file="".join(f"A{number}=\n" for number in range(5000))).warnings
    assert str(warning).endswith("A19 and 4980 more.")


GROWING = {
    "spaces": lambda size: "A=x" + " " * size + "y",
    "runs of spaces": lambda size: "A=x" + (" " * 200 + "y") * (size // 201),
    "long runs of spaces": lambda size: "A=x" + (" " * 300 + "y\n") * (size // 302),
    "an open quote": lambda size: "A='" + "\\'" * (size // 2),
    "open quotes": lambda size: "A='\nB=\"\n" * (size // 8),
    "lines": lambda size: "A=1\n" * (size // 4),
    "names": lambda size: "".join(f"A{number}=1\n" for number in range(size // 9)),
    "bad lines": lambda size: "x\n" * (size // 2),
    "empty lines": lambda size: "\n" * size + "A=1",
    "comments": lambda size: "# x\n" * (size // 4),
    "escapes": lambda size: 'A="' + "\\n" * (size // 2) + '"',
}


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_the_time_grows_with_the_text_and_not_faster(make):
    def check(text):
        with suppress(BadAssignment):
            read_env_secrets(text)

    took = assert_grows_linearly(check, make, size=60_000)
    assert took < at_most(3)


# --- Ways in -------------------------------------------------------------------------------------

EXAMPLE = 'A=\nURL=https://h/v1   # note\nexport K="a\nQUJD=="  # x\nC=\n'
EXPECTED = {"URL": "https://h/v1", "K": "a\nQUJD=="}
WRONG = f'A=\nB=\nC=\nPORT=1\nHOME=/x\nD=o{" " * 201}k\nK="open\n'


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Launch an echo with an env file; return what the command wrote to stderr."""
    monkeypatch.setattr("workspaces.management.commands.launch.require_worker", lambda queue: None)

    def launch(text):
        path, errors = tmp_path / ".env", io.StringIO()
        path.write_text(text)
        call_command("launch", "echo", "--env-file", str(path), stdout=io.StringIO(), stderr=errors)
        return errors.getvalue()

    return launch


@pytest.mark.django_db
def test_the_command_reads_an_env_file_and_lists_what_is_not_set(command):
    assert "Warning: Not set, because the env file gives no value: A, C." in command(EXAMPLE)
    assert secrets.read_environment(Workspace.objects.get().pk) == EXPECTED


@pytest.mark.django_db
def test_the_api_reads_an_env_file_and_lists_what_is_not_set():
    body = {"name": "w", "template": "echo", "env_file": EXAMPLE, "secrets": {"URL": "https://own"}}
    answer = holder(ApiScope.OPERATE).post("/workspaces", body).json()
    [warning] = answer["warnings"]
    assert (warning["code"], warning["path"], warning["line"]) == ("not_set", "env_file", None)
    assert warning["message"] == "Not set, because the env file gives no value: A, C."
    assert secrets.read_environment(answer["id"]) == EXPECTED | {"URL": "https://own"}


@pytest.mark.django_db
def test_the_admin_reads_an_env_file_and_lists_what_is_not_set(client):
    client.force_login(User.objects.create_superuser("operator"))
    data = {"template": "echo", "secrets": EXAMPLE.replace("\n", "\r\n")}
    answer = client.post("/admin/workspaces/workspace/add/", data, follow=True)
    assert "Not set, because the env file gives no value: A, C." in answer.content.decode()
    assert secrets.read_environment(Workspace.objects.get().pk) == EXPECTED


EVERY_PROBLEM = [
    "Line 4: PORT is set by Slipway",
    "Line 5: HOME is set by Slipway",
    "Line 6 has more than 200 spaces in a row",
    "Line 7 has a quote",
]


@pytest.mark.django_db
def test_the_command_names_every_problem_of_an_env_file(command):
    with pytest.raises(CommandError) as refusal:
        command(WRONG)
    assert all(problem in str(refusal.value) for problem in EVERY_PROBLEM)
    assert ".env: Line 4" in str(refusal.value)
    assert not Workspace.objects.exists()


@pytest.mark.django_db
def test_the_api_names_every_problem_of_an_env_file_and_of_secrets():
    body = {"name": "w", "template": "echo", "env_file": WRONG, "secrets": {"1": "x", "EMPTY": "", "PORT": "1"}}
    fields = holder(ApiScope.OPERATE).post("/workspaces", body).json()["fields"]
    assert all(problem in fields["env_file"] for problem in EVERY_PROBLEM)
    assert all(name in fields["secrets"] for name in ("'1'", "EMPTY", "PORT"))
    assert not Workspace.objects.exists()


@pytest.mark.django_db
def test_the_admin_names_every_problem_of_an_env_file(client):
    client.force_login(User.objects.create_superuser("operator"))
    answer = client.post("/admin/workspaces/workspace/add/", {"template": "echo", "secrets": WRONG})
    [error] = answer.context["form"].errors["secrets"]
    assert all(problem in error for problem in EVERY_PROBLEM)
    assert not Workspace.objects.exists()
