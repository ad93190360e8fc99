"""`slipway login`: where keys are kept, and which server gets them."""

import json
import stat

import keyring
import pytest

from tests.cli.conftest import Keyring, new_key
from tests.workspaces.factories import online
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db(transaction=True)


def test_without_a_keyring_the_key_is_in_a_file_that_only_its_owner_reads(cli, live_server):
    key = cli.sign_in(live_server.url)
    file = cli.folder / "slipway" / "keys.json"
    assert list(json.loads(file.read_text()).values()) == [key]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert cli("ls").code == 0


def test_with_a_keyring_the_key_is_in_no_file(cli, live_server):
    keyring.set_keyring(Keyring())
    key = cli.sign_in(live_server.url)
    assert list(keyring.get_keyring().kept.values()) == [key]
    assert key not in "".join(path.read_text() for path in (cli.folder / "slipway").iterdir())
    assert cli("ls").code == 0
    cli.ok("logout")
    assert keyring.get_keyring().kept == {}


def test_a_wrong_key_is_refused_and_not_kept(cli, live_server):
    ended = cli("login", live_server.url, stdin="wrong")
    assert (ended.code, ended.out) == (3, "")
    assert not (cli.folder / "slipway").exists()


def test_a_key_without_the_scope_is_refused_with_the_scope_that_it_needs(cli, live_server):
    ended = cli("login", live_server.url, stdin=new_key(ApiScope.WATCH))
    assert ended.code == 3
    assert "read" in ended.err


def test_a_key_comes_from_a_file_and_never_from_an_argument(cli, live_server, tmp_path):
    (tmp_path / "key").write_text(new_key() + "\n")
    assert cli("login", live_server.url, "--key-file", tmp_path / "key").code == 0
    assert cli("login", live_server.url, "--key", "x").code == 2


def test_what_is_no_key_is_sent_nowhere(cli):
    assert cli("login", "http://127.0.0.1:1", stdin="two words\n").code == 2


@pytest.mark.parametrize("address", ["slipway.example", "ftp://slipway.example", "https://"])
def test_what_is_no_address_is_refused(cli, address):
    ended = cli("login", address, stdin="key")
    assert (ended.code, "is not an http or https address" in ended.err) == (2, True)


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1",
        "http://host:port",
        "http://\udcff",
        "http://a..b",
        f"http://{'x' * 64}",
        f"http://x/{'y' * 70_000}",
    ],
)
def test_an_address_that_can_not_be_called_is_refused(cli, monkeypatch, address):
    ended = cli("login", address, stdin="key")
    assert (ended.code, "can't be called" in ended.err) == (2, True)
    monkeypatch.setenv("SLIPWAY_URL", address)
    monkeypatch.setenv("SLIPWAY_KEY", "key")
    assert cli("ls") == ended


def test_several_servers_are_profiles(cli, live_server):
    cli.sign_in(live_server.url, profile="first")
    cli.sign_in(live_server.url + "/", profile="second")
    online(name="nightly")
    assert [row["is_current"] for row in cli.json("profile", "ls")] == [False, True]
    cli.ok("profile", "use", "first")
    assert [row["is_current"] for row in cli.json("profile", "ls")] == [True, False]
    cli.ok("logout")
    assert cli.ok("-p", "second", "ls", "-o", "name") == "nightly\n"
    ended = cli("ls")
    assert (ended.code, "There is no profile 'first'. Known profiles: second." in ended.err) == (3, True)
    assert cli("profile", "use", "third").code == 4


def test_a_saved_key_is_not_sent_to_an_address_from_the_environment(cli, live_server, monkeypatch):
    key = cli.sign_in(live_server.url)
    monkeypatch.setenv("SLIPWAY_URL", "http://127.0.0.1:1")
    ended = cli("ls")
    assert (ended.code, "SLIPWAY_KEY" in ended.err) == (3, True)
    monkeypatch.setenv("SLIPWAY_URL", live_server.url)
    monkeypatch.setenv("SLIPWAY_KEY", key)
    assert cli("ls").code == 0


def test_a_key_from_the_environment_may_have_white_space_around_it(cli, live_server, monkeypatch):
    monkeypatch.setenv("SLIPWAY_URL", live_server.url)
    monkeypatch.setenv("SLIPWAY_KEY", f" {new_key()}\r\n")
    assert cli("ls").code == 0


@pytest.mark.parametrize("key", ["s3cr3t\nkey", "s3cr3t key", "s3cr3t\x07key", "s3cr3t-schl\u00fcssel", " "])
def test_what_is_no_key_in_the_environment_or_the_file_is_a_sentence_without_it(cli, live_server, monkeypatch, key):
    cli.sign_in(live_server.url)
    file = cli.folder / "slipway" / "keys.json"
    file.write_text(json.dumps(dict.fromkeys(json.loads(file.read_text()), key)))
    refused = (2, "", "An API key is one word of ASCII characters.\n")
    assert cli("ls") == refused
    monkeypatch.setenv("SLIPWAY_URL", live_server.url)
    monkeypatch.setenv("SLIPWAY_KEY", key)
    assert cli("ls") == refused


def test_a_command_without_a_sign_in_says_how_to_sign_in(cli):
    ended = cli("ls")
    assert (ended.code, ended.err) == (3, "You are not signed in. Sign in with `slipway login URL`.\n")


@pytest.mark.parametrize("content", ["{", "[" * 2000, "[]", '{"profiles": []}', '{"profiles": null}'])
def test_a_damaged_file_is_named(cli, live_server, content):
    cli.sign_in(live_server.url)
    (cli.folder / "slipway" / "profiles.json").write_text(content)
    for command in (["ls"], ["profile", "ls"], ["profile", "use", "x"], ["logout"], ["login", live_server.url]):
        ended = cli(*command, stdin=new_key())
        assert (ended.code, "profiles.json" in ended.err) == (2, True)


def test_a_folder_that_can_not_be_written_is_named(cli, live_server, monkeypatch):
    (cli.folder / "link").symlink_to(cli.folder / "nowhere")
    monkeypatch.setenv("SLIPWAY_CONFIG_DIR", str(cli.folder / "link"))
    ended = cli("login", live_server.url, stdin=new_key())
    assert (ended.code, "keys.json can't be written" in ended.err) == (2, True)
