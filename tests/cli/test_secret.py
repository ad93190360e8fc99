"""`slipway secret`."""

import pytest

from tests.workspaces.factories import online
from workspaces.access.secrets import read_environment
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import Secret, Workspace

pytestmark = pytest.mark.django_db(transaction=True)
VALUE = "s3cret-value-of-a-test"


def test_a_secret_goes_in_and_its_value_never_comes_out(signed_in, tmp_path):
    workspace = online(name="nightly")
    (tmp_path / "pem").write_text("two\nlines\n")
    written = signed_in.ok("secret", "set", "API_KEY", "-w", "nightly", stdin=f"{VALUE}\n")
    written += signed_in.ok("secret", "set", "PEM", "--global", "--from-file", tmp_path / "pem")
    assert read_environment(workspace.pk) == {"API_KEY": VALUE, "PEM": "two\nlines"}
    written += signed_in.ok("secret", "ls", "-w", "nightly", "-o", "json")
    assert [(row["name"], row["scope"]) for row in signed_in.json("secret", "ls", "-w", "nightly")] == [
        ("API_KEY", "workspace"),
        ("PEM", "global"),
    ]
    assert signed_in.ok("secret", "ls", "--global", "-o", "name") == "PEM\n"
    assert VALUE not in written
    signed_in.ok("secret", "rm", "API_KEY", "-w", "nightly", "--yes")
    assert read_environment(workspace.pk) == {"PEM": "two\nlines"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["set", "API_KEY"], 2),
        (["set", "API_KEY", "-g", "-w", "nightly"], 2),
        (["set", "API_KEY", "value", "-g"], 2),
        (["set", "PORT", "-g"], 2),
        (["set", "API_KEY", "-g", "--from-file", "/nowhere"], 2),
        (["rm", "../../x", "-g", "-y"], 4),
        (["ls", "-w", "unknown"], 4),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_stored(signed_in, arguments, code):
    online(name="nightly")
    assert signed_in("secret", *arguments, stdin="value\n").code == code
    assert Secret.objects.count() == 0


def test_a_set_is_shared_by_workspaces_which_then_need_a_restart(signed_in):
    signed_in.ok("secret", "set", "API_KEY", "--set", "team", stdin=f"{VALUE}\n")
    created = signed_in.ok("launch", "echo", "--secret-set", "team", "-o", "json")
    workspace = Workspace.objects.get()
    assert str(workspace.pk) in created
    assert read_environment(workspace.pk) == {"API_KEY": VALUE}
    assert signed_in.json("secret", "ls", "--set", "team")[0]["version"] == 1
    assert [(row["name"], row["workspaces"]) for row in signed_in.json("secret", "sets")] == [("team", 1)]
    assert signed_in("secret", "rm-set", "team", "--yes").code == 5
    assert signed_in.ok("ls", "--needs-restart", "-o", "name") == ""
    signed_in.ok("secret", "rm", "API_KEY", "--set", "team", "--yes")
    assert read_environment(workspace.pk) == {}


def test_those_that_need_a_restart_are_listed(signed_in):
    online(name="nightly")
    online(name="newer")
    signed_in.ok("secret", "set", "API_KEY", "-w", "nightly", stdin="value\n")
    assert signed_in.ok("ls", "--needs-restart", "-o", "name") == "nightly\n"


@pytest.mark.parametrize(
    ("given", "stored"),
    [("one\ntwo\n", "one\ntwo"), ("one\r\ntwo\r\n", "one\r\ntwo"), ("one\n\n", "one\n"), (" one", " one")],
)
def test_a_value_of_several_lines_is_stored_whole_without_its_last_line_break(signed_in, tmp_path, given, stored):
    workspace = online(name="nightly")
    (tmp_path / "file").write_bytes(given.encode())
    signed_in.ok("secret", "set", "PIPED", "-w", "nightly", stdin=given)
    signed_in.ok("secret", "set", "FILED", "-w", "nightly", "--from-file", tmp_path / "file")
    assert read_environment(workspace.pk) == {"PIPED": stored, "FILED": stored}


def test_one_secret_of_a_launch_is_the_whole_input_and_several_are_a_line_each(signed_in):
    signed_in.ok("launch", "echo", "-n", "one", "--secret", "ONE", stdin="first\nsecond\n")
    signed_in.ok("launch", "echo", "-n", "two", "--secret", "ONE", "--secret", "TWO", stdin="first\nsecond\n")
    assert read_environment(Workspace.objects.get(name="one").pk) == {"ONE": "first\nsecond"}
    assert read_environment(Workspace.objects.get(name="two").pk) == {"ONE": "first", "TWO": "second"}


def test_a_line_that_is_no_text_is_refused(signed_in):
    ended = signed_in("launch", "echo", "--secret", "ONE", "--secret", "TWO", stdin="one\n\udcff\n")
    assert (ended.code, "TWO can't be read" in ended.err) == (2, True)


def test_an_empty_value_is_refused(signed_in):
    assert signed_in("secret", "set", "API_KEY", "-g", stdin=" \n").code == 2


@pytest.mark.parametrize("name", ["A", "_", "x" * 255, "new", "a.b", "a/b", "a%2Fb", ".", "..", "a?b"])
def test_whatever_can_be_set_can_be_deleted(signed_in, name):
    online(name="nightly")
    for place in (["-w", "nightly"], ["-g"], ["--set", "team.v1"]):
        ended = signed_in("secret", "set", name, *place, stdin=f"{VALUE}\n")
        assert ended.code == (0 if name.isidentifier() else 2), ended
        assert Secret.objects.exists() == name.isidentifier()
        assert signed_in("secret", "rm", name, *place, "--yes").code == (0 if name.isidentifier() else 4)
        assert not Secret.objects.exists()
    # Dots in a path would lead to what is above the secrets: the workspace.
    assert Workspace.objects.get().status == WorkspaceStatus.ONLINE


@pytest.mark.parametrize("name", [".", "..", "../secrets", "team/KEPT"])
def test_a_set_whose_name_leads_elsewhere_is_not_found(signed_in, name):
    signed_in.ok("secret", "set", "KEPT", "--set", "team", stdin=f"{VALUE}\n")
    for command in (["rm-set", name, "-y"], ["rm", "KEPT", "--set", name, "-y"], ["ls", "--set", name]):
        assert signed_in("secret", *command).code == 4
    assert [(row.secret_set_id, row.name) for row in Secret.objects.all()] == [("team", "KEPT")]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["rm", "API_KEY", "--global"], "the secret API_KEY (global)"),
        (["rm", "API_KEY", "--workspace", "night"], "the secret API_KEY (workspace nightly)"),
        (["rm", "API_KEY", "--set", "team"], "the secret API_KEY (set team)"),
        (["rm-set", "team"], "the set team with its secrets"),
    ],
)
def test_nothing_is_deleted_without_a_terminal_or_yes(signed_in, arguments, named):
    online(name="nightly")
    for place in (["--global"], ["--workspace", "nightly"], ["--set", "team"]):
        signed_in.ok("secret", "set", "API_KEY", *place, stdin=VALUE)
    ended = signed_in("secret", *arguments, stdin="y\n")
    assert (ended.code, ended.err) == (2, f"Nothing was deleted. To delete {named}, add --yes.\n")
    assert Secret.objects.count() == 3
    signed_in.ok("secret", *arguments, "-y")
    assert Secret.objects.count() == 2
