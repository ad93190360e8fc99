"""`slipway secret`."""

import pytest

from tests.workspaces.factories import online
from workspaces.access.secrets import read_environment
from workspaces.models import Secret

pytestmark = pytest.mark.django_db(transaction=True)
VALUE = "s3cret-value-of-a-test"


def test_a_secret_goes_in_and_its_value_never_comes_out(signed_in, tmp_path):
    workspace = online(name="nightly")
    (tmp_path / "pem").write_text("two\nlines\n")
    written = signed_in.ok("secret", "set", "API_KEY", "-w", "nightly", stdin=f"{VALUE}\n")
    written += signed_in.ok("secret", "set", "PEM", "--global", "--from-file", tmp_path / "pem")
    assert read_environment(workspace.pk) == {"API_KEY": VALUE, "PEM": "two\nlines\n"}
    written += signed_in.ok("secret", "ls", "-w", "nightly", "-o", "json")
    assert [(row["name"], row["scope"]) for row in signed_in.json("secret", "ls", "-w", "nightly")] == [
        ("API_KEY", "workspace"),
        ("PEM", "global"),
    ]
    assert signed_in.ok("secret", "ls", "--global", "-o", "name") == "PEM\n"
    assert VALUE not in written
    signed_in.ok("secret", "rm", "API_KEY", "-w", "nightly")
    assert read_environment(workspace.pk) == {"PEM": "two\nlines\n"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["set", "API_KEY"], 2),
        (["set", "API_KEY", "-g", "-w", "nightly"], 2),
        (["set", "API_KEY", "value", "-g"], 2),
        (["set", "PORT", "-g"], 2),
        (["set", "API_KEY", "-g", "--from-file", "/nowhere"], 2),
        (["rm", "../../x", "-g"], 4),
        (["ls", "-w", "unknown"], 4),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_stored(signed_in, arguments, code):
    online(name="nightly")
    assert signed_in("secret", *arguments, stdin="value\n").code == code
    assert Secret.objects.count() == 0


def test_an_empty_value_is_refused(signed_in):
    assert signed_in("secret", "set", "API_KEY", "-g", stdin=" \n").code == 2
