"""A bad value stops the start with a message that names the variable and the value."""

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured

from config import environment
from tests.waiting import PATIENCE_SECONDS

FERNET_KEY = "A" * 43 + "="
COMPLETE = {
    "SECRET_KEY": "x" * 50,
    "SECRETS_KEYS": FERNET_KEY,
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}


def env(**variables):
    reader = environ.Env()
    reader.ENVIRON = variables
    return reader


def import_settings(**variables):
    program = "import config.settings as s; print(s.PROVISION_TIMEOUT_SECONDS)"
    return subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": os.environ["PATH"], **COMPLETE, **variables},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("text", ["0", "-5", "abc", "1.5", "１２", "1_0", "99999999999", "1 2"])
def test_a_timeout_that_is_not_a_number_of_seconds_is_refused(text):
    with pytest.raises(ImproperlyConfigured, match=f"PROVISION_TIMEOUT_SECONDS={text} "):
        environment.optional_seconds(env(PROVISION_TIMEOUT_SECONDS=text), "PROVISION_TIMEOUT_SECONDS")


@pytest.mark.parametrize("variables", [{}, {"PROVISION_TIMEOUT_SECONDS": ""}, {"PROVISION_TIMEOUT_SECONDS": "  "}])
def test_an_unset_or_empty_timeout_overrides_nothing(variables):
    assert environment.optional_seconds(env(**variables), "PROVISION_TIMEOUT_SECONDS") is None


def test_a_timeout_is_read_in_seconds():
    assert environment.optional_seconds(env(PROVISION_TIMEOUT_SECONDS=" 60 "), "PROVISION_TIMEOUT_SECONDS") == 60


@pytest.mark.parametrize("text", ["0", "-1", "four", "1001"])
def test_a_number_out_of_bounds_is_refused(text):
    with pytest.raises(ImproperlyConfigured, match=f"LAUNCH_SLOTS={text} .*from 1 to 1000"):
        environment.integer(env(LAUNCH_SLOTS=text), "LAUNCH_SLOTS", default=4, least=1, most=1000)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("1", True), ("off", False), ("No", False), ("", False)])
def test_a_flag_is_read(text, value):
    assert environment.flag(env(DEBUG=text), "DEBUG", default=False) is value


def test_a_flag_that_is_neither_yes_nor_no_is_refused():
    with pytest.raises(ImproperlyConfigured, match="DEBUG=maybe"):
        environment.flag(env(DEBUG="maybe"), "DEBUG", default=False)


def test_an_unknown_choice_is_refused_with_the_allowed_values():
    with pytest.raises(ImproperlyConfigured, match=r"PROVISIONER=moon .* process, docker"):
        environment.choice(env(PROVISIONER="moon"), "PROVISIONER", default="process", among=["process", "docker"])


@pytest.mark.parametrize("text", ["mysql://u:pw@host/db", "postgres://", "nonsense", "postgres://u:pw@host:port/db"])
def test_a_bad_database_address_is_refused_without_showing_its_password(text):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as refusal:
        environment.url(env(DATABASE_URL=text), "DATABASE_URL", schemes=["postgres", "postgresql"])
    assert "pw" not in str(refusal.value)


@pytest.mark.parametrize("text", ["redis://h:6379/0", "rediss://:pw@h/1", "unix:///run/redis.sock"])
def test_each_kind_of_redis_address_is_accepted(text):
    assert environment.url(env(REDIS_URL=text), "REDIS_URL", schemes=["redis", "rediss", "unix"]) == text


def test_a_bad_network_is_refused():
    with pytest.raises(ImproperlyConfigured, match=r"AGENT_URL_ALLOW_PRIVATE: .*10\.0\.0\.0/40"):
        environment.cidr_list(env(AGENT_URL_ALLOW_PRIVATE="10.0.0.0/8,10.0.0.0/40"), "AGENT_URL_ALLOW_PRIVATE")


def test_a_bad_fernet_key_is_refused_and_not_shown():
    with pytest.raises(ImproperlyConfigured, match="SECRETS_KEYS") as refusal:
        environment.fernet_keys(env(SECRETS_KEYS=f"{FERNET_KEY},hunter2"), "SECRETS_KEYS")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("", 7), ("0", 0), ("2", 2), ("10.0.0.0/8, 127.0.0.1", [ip_network("10.0.0.0/8"), ip_network("127.0.0.1/32")])],
)
def test_proxies_are_a_number_or_networks(text, value):
    assert environment.trusted_proxies(env(TRUSTED_PROXIES=text), "TRUSTED_PROXIES", default=7) == value


@pytest.mark.parametrize("text", ["-1", "21", "true", "10.0.0.1/8", "proxy.example"])
def test_proxies_that_are_neither_are_refused_by_name(text):
    with pytest.raises(ImproperlyConfigured, match="TRUSTED_PROXIES"):
        environment.trusted_proxies(env(TRUSTED_PROXIES=text), "TRUSTED_PROXIES", default=0)


@pytest.mark.parametrize(("text", "value"), [("", "/given"), ("/", ""), ("/a/b-c.d_~/", "/a/b-c.d_~")])
def test_a_prefix_of_paths_is_read_without_its_last_slash(text, value):
    assert environment.path_prefix(env(PATH_PREFIX=text), "PATH_PREFIX", default="/given") == value


@pytest.mark.parametrize("text", ["a", "//a", "/a//b", "/a b", "/..", "/ä", "/a?b", "https://h/a"])
def test_what_is_no_prefix_of_paths_is_refused_by_name(text):
    with pytest.raises(ImproperlyConfigured, match="PATH_PREFIX"):
        environment.path_prefix(env(PATH_PREFIX=text), "PATH_PREFIX", default="")


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_a_required_variable_that_is_unset_is_named(name):
    result = import_settings(**{name: ""})
    assert result.returncode == 1
    assert f"{name} is not set." in result.stderr


def test_a_value_that_begins_with_a_dollar_sign_is_not_replaced_by_another_variable():
    reader = env(SECRET_KEY="$HOME", HOME="/root")
    assert environment.required(reader, "SECRET_KEY") == "$HOME"


def test_a_bad_value_stops_the_import_of_settings():
    result = import_settings(PROVISION_TIMEOUT_SECONDS="abc")
    assert result.returncode == 1
    assert "PROVISION_TIMEOUT_SECONDS=abc" in result.stderr


@pytest.mark.parametrize("name", ["CATALOG_DIRS", "DATA_DIR"])
def test_a_link_to_itself_does_not_stop_the_import_of_settings(tmp_path, name):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    result = import_settings(**{name: str(loop)})
    assert (result.returncode, result.stderr) == (0, "")


def test_importing_settings_starts_nothing_and_writes_nothing(tmp_path):
    folder = tmp_path / "data"
    result = import_settings(DATA_DIR=str(folder), PROVISION_TIMEOUT_SECONDS="60")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "60\n"
    assert not folder.exists()


def test_a_mail_server_is_optional():
    assert environment.optional_url(env(), "EMAIL_URL", schemes=environment.MAIL_SCHEMES) == ""
    url = "smtp+tls://user:pw@mail.example.com:587"
    assert environment.optional_url(env(EMAIL_URL=url), "EMAIL_URL", schemes=environment.MAIL_SCHEMES) == url


def test_a_mail_address_with_another_scheme_is_refused_without_showing_its_password():
    with pytest.raises(ImproperlyConfigured, match=r"EMAIL_URL.*smtp\+tls") as refused:
        environment.optional_url(env(EMAIL_URL="https://u:s3cr3t@x"), "EMAIL_URL", schemes=environment.MAIL_SCHEMES)
    assert "s3cr3t" not in str(refused.value)
