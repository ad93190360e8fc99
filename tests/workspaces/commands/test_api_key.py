"""`manage.py api_key`."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tests.callers import Caller
from workspaces.models import ApiKey

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command("api_key", *arguments, stdout=out)
    return out.getvalue()


def test_a_key_is_printed_once_and_permits_what_its_scopes_say():
    made = json.loads(run("create", "ci", "--scope", "read", "--format", "json"))
    assert Caller(made["key"]).get("/workspaces").status_code == 200
    assert Caller(made["key"]).post("/workspaces", {"name": "x"}).status_code == 403
    assert made["key"] not in run("list")
    assert not ApiKey.objects.filter(digest=made["key"]).exists()


def test_the_text_ends_with_the_key_alone_on_its_line():
    key = run("create", "ci", "--scope", "read", "--scope", "operate").strip().splitlines()[-1]
    assert (key[:4], len(key)) == ("slw_", 47)
    assert key not in run("list")
    assert sorted(ApiKey.objects.get().scopes) == ["operate", "read"]


def test_the_list_names_each_key_and_whether_it_is_valid():
    assert "0 keys." in run("list")
    run("create", "ci", "--scope", "read")
    run("create", "backup", "--scope", "watch")
    run("revoke", ApiKey.objects.get(name="ci").prefix)
    text = run("list")
    assert "2 keys." in text
    assert [line.split("  ")[-1].split()[0] for line in text.splitlines()[:2]] == ["valid", "revoked"]
    assert [fact["name"] for fact in json.loads(run("list", "--format", "json"))] == ["backup", "ci"]


def test_a_revoked_key_permits_nothing():
    key = json.loads(run("create", "ci", "--scope", "read", "--format", "json"))["key"]
    assert "Revoked 1 key, ci" in run("revoke", key[:6])
    assert Caller(key).get("/workspaces").status_code == 401
    with pytest.raises(CommandError, match="No valid API key begins with"):
        run("revoke", key[:6])


def test_a_key_is_renamed_limited_and_freed_of_its_limits_again_and_the_rest_stays():
    made = json.loads(run("create", "ci", "--scope", "read", "--network", "10.0.0.0/8", "--format", "json"))
    assert run("change", made["prefix"], "--name", "backup") == f"Changed 1 key, backup ({made['prefix']}…).\n"
    row = ApiKey.objects.get()
    assert (row.name, row.networks, row.expires_at, row.scopes) == ("backup", ["10.0.0.0/8"], None, ["read"])
    run("change", made["prefix"], "--expires", "2096-01-31", "--network", "::1", "--network", "192.0.2.7")
    row.refresh_from_db()
    assert (row.name, row.networks, row.expires_at.year) == ("backup", ["::1/128", "192.0.2.7/32"], 2096)
    changed = json.loads(run("change", made["prefix"], "--expires", "never", "--anywhere", "--format", "json"))
    assert (changed["expires_at"], changed["networks"]) == (None, [])
    assert Caller(made["key"]).get("/workspaces").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "Say what to change: --name, --expires, --network or --anywhere."),
        (["--name", ""], "A key's name is one line"),
        (["--expires", "2020-01-01"], "must lie in the future"),
        (["--network", "x"], "'x' does not appear to be an IPv4 or IPv6 network"),
        (["--network", "::1", "--anywhere"], "not allowed with argument"),
        (["--scope", "admin"], "unrecognized arguments"),
    ],
)
def test_a_wrong_change_of_a_key_is_refused_with_exit_code_2(arguments, error):
    prefix = json.loads(run("create", "ci", "--scope", "read", "--format", "json"))["prefix"]
    before = ApiKey.objects.values().get()
    with pytest.raises(CommandError) as refused:
        run("change", prefix, *arguments)
    assert error in str(refused.value)
    assert ApiKey.objects.values().get() == before
    run("revoke", prefix)
    with pytest.raises(CommandError, match="No valid API key begins with"):
        run("change", prefix, "--name", "other")


def test_a_prefix_of_several_keys_revokes_none():
    run("create", "a", "--scope", "read")
    run("create", "b", "--scope", "read")
    ApiKey.objects.update(prefix="same")
    with pytest.raises(CommandError, match="Several API keys begin with 'same'"):
        run("revoke", "same")
    assert not ApiKey.objects.filter(revoked_at__isnull=False).exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["create", "ci"], "A key needs a scope. Known scopes: read, operate, admin, watch."),
        (["create", "ci", "--scope", "everything"], "There is no scope 'everything'."),
        (["create", " ", "--scope", "read"], "A key's name is one line"),
        (["create", "a\nb", "--scope", "read"], "A key's name is one line"),
        (["create", "a\0b", "--scope", "read"], "A key's name is one line"),
        (["create", "x" * 101, "--scope", "read"], "A key's name is one line"),
        (["create", "\udcff", "--scope", "read"], "The argument name is not UTF-8 text."),
        (["create", "a", "--scope", "\udcff"], "The argument scopes is not UTF-8 text."),
        (["revoke", "\udcff"], "The argument prefix is not UTF-8 text."),
        (["revoke", "zzzzzz"], "No valid API key begins with 'zzzzzz'"),
        (["revoke", ""], "No valid API key begins with ''"),
        (["create", "a", "--scope", "read", "--expires", "soon"], "write 90d, 2027-01-31 or 2027-01-31T12:00"),
        (["create", "a", "--scope", "read", "--expires", "9999999999d"], "write 90d, 2027-01-31 or 2027-01-31T12:00"),
        (["create", "a", "--scope", "read", "--expires", "0d"], "must lie in the future"),
        (["create", "a", "--scope", "read", "--expires", "9998-01-01"], "before the year 9000"),
        (["create", "a", "--scope", "read", "--network", "10.0.0.1/8"], "host bits set"),
        ([], "required"),
        (["create"], "required: name"),
        (["destroy"], "invalid choice: 'destroy'"),
    ],
)
def test_invalid_arguments_are_refused_with_exit_code_2(arguments, error):
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert error in str(refused.value)
    assert not ApiKey.objects.exists()


def test_a_key_with_an_expiry_and_networks_says_so_in_the_list():
    made = run("create", "ci", "--scope", "read", "--expires", "90d", "--network", "10.0.0.0/8", "--network", "::1")
    row = ApiKey.objects.get()
    assert timedelta(days=89) < row.expires_at - row.created_at < timedelta(days=91)
    assert row.networks == ["10.0.0.0/8", "::1/128"]
    line = run("list").splitlines()[0]
    assert "from 10.0.0.0/8, ::1/128  never used" in line
    assert line.endswith(f"valid until {row.expires_at:%Y-%m-%d %H:%M}")
    assert Caller(made.split()[-1]).get("/workspaces").status_code == 403
    ApiKey.objects.update(networks=[], last_used_at="2026-01-02T03:04Z")
    assert "used 2026-01-02 03:04" in run("list")
    ApiKey.objects.update(expires_at="2026-01-02T03:04Z")
    assert run("list").splitlines()[0].endswith("expired 2026-01-02")
    assert json.loads(run("list", "--format", "json"))[0]["state"] == "expired"


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2096-01-31", "2096-01-31T00:00:00+00:00"), ("2096-01-31T12:00+02:00", "2096-01-31T10:00:00+00:00")],
)
def test_an_expiry_without_a_time_zone_is_in_utc(text, moment):
    run("create", "ci", "--scope", "read", "--expires", text)
    assert ApiKey.objects.get().expires_at.isoformat() == moment
