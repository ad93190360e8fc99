"""/api-keys, and what limits a key: its expiry, its networks, its revocation."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.stream_access import require_reader
from events.live.authorization import find_revoked
from tests.callers import Caller, holder
from workspaces.access.api_keys import change_api_key, mint_api_key
from workspaces.models import ApiKey, ApiScope

pytestmark = pytest.mark.django_db
IN_A_DAY = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.fixture
def admin():
    return holder(ApiScope.ADMIN)


def patch(caller, path, body):
    return caller.client.patch(path, body, content_type="application/json", headers=caller.headers)


def reads(key, *, address="127.0.0.1"):
    """Return the status and code of a read with a key."""
    client = Caller(key)
    answer = client.client.get("/workspaces", headers=client.headers, REMOTE_ADDR=address)
    return answer.status_code, answer.json()["code"] if answer.status_code != 200 else ""


def test_a_key_is_created_shown_once_listed_changed_and_revoked(admin):
    body = {"name": "ci", "scopes": ["read"], "expires_at": IN_A_DAY, "networks": ["127.0.0.1", "10.0.0.0/8"]}
    made = admin.post("/api-keys", body)
    assert made.status_code == 201
    key, number = made.json()["key"], made.json()["id"]
    assert made.json()["networks"] == ["127.0.0.1/32", "10.0.0.0/8"]
    assert reads(key) == (200, "")

    listed = admin.get("/api-keys")
    assert key not in listed.content.decode()
    [row, own] = listed.json()
    assert (row["id"], row["prefix"], row["state"]) == (number, key[:10], "valid")
    assert row["last_used_at"] is not None
    assert own["scopes"] == ["admin"]

    changed = patch(admin, f"/api-keys/{number}", {"name": "renamed", "networks": [], "expires_at": None})
    assert changed.status_code == 200
    assert (changed.json()["name"], changed.json()["networks"], changed.json()["expires_at"]) == ("renamed", [], None)
    assert (changed.json()["scopes"], reads(key)) == (["read"], (200, ""))

    assert admin.delete(f"/api-keys/{number}").json() == {"status": "revoked"}
    assert reads(key) == (401, "unauthorized")
    assert [row["id"] for row in admin.get("/api-keys").json()] == [own["id"]]
    with_revoked = admin.get("/api-keys", include_revoked="true").json()
    assert [row["state"] for row in with_revoked] == ["revoked", "valid"]


def test_a_revoked_or_unknown_key_is_not_found_and_stays_as_it_is(admin):
    row, _ = mint_api_key(name="ci", scopes=["read"])
    admin.delete(f"/api-keys/{row.pk}")
    row.refresh_from_db()
    assert admin.delete(f"/api-keys/{row.pk}").status_code == 200
    for number in (row.pk, 2**63 - 1, 2**63, 0, "x"):
        assert patch(admin, f"/api-keys/{number}", {"name": "b"}).status_code == 404, number
    assert admin.delete(f"/api-keys/{2**63 - 1}").status_code == 404
    assert ApiKey.objects.get(pk=row.pk).revoked_at == row.revoked_at
    assert ApiKey.objects.get(pk=row.pk).name == "ci"


def test_the_keys_are_listed_in_pages(admin):
    for number in range(5):
        mint_api_key(name=f"key {number}", scopes=["read"])
    names, address = [], "/api-keys?limit=4"
    while address:
        answer = admin.get(address)
        names.append([row["name"] for row in answer.json()])
        address = answer.get("Link", "").partition(">")[0].removeprefix("<")
    assert names == [["key 4", "key 3", "key 2", "key 1"], ["key 0", "script"]]
    assert [row["name"] for row in admin.get("/api-keys", sort="name", limit=2).json()] == ["key 0", "key 1"]
    refused = admin.get("/api-keys", include_revokd="true")
    assert (refused.status_code, list(refused.json()["fields"])) == (422, ["include_revokd"])


def test_a_repeated_request_with_an_idempotency_key_creates_one_key(admin):
    admin.headers["Idempotency-Key"] = str(uuid4())
    answers = [admin.post("/api-keys", {"name": "ci", "scopes": ["read"]}).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert ApiKey.objects.filter(name="ci").count() == 1
    assert reads(answers[1]["key"]) == (200, "")


def test_an_expiry_in_any_zone_is_stored_in_utc(admin):
    body = {"name": "ci", "scopes": ["read"], "expires_at": "2099-01-01T12:00:00+23:59"}
    assert admin.post("/api-keys", body).json()["expires_at"] == "2098-12-31T12:01:00Z"


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", "", "1 to 100 characters"),
        ("name", "a\nb", "one line"),
        ("name", "x" * 101, "1 to 100 characters"),
        ("name", None, ""),
        ("name", 1, ""),
        ("scopes", [], "A key needs a scope."),
        ("scopes", ["root"], "Known scopes: read"),
        ("scopes", "read", ""),
        ("expires_at", "2020-01-01T00:00:00Z", "in the future"),
        ("expires_at", "9999-12-31T23:59:59-14:00", "before the year 9000"),
        ("expires_at", "8999-12-31T23:59:59-14:00", "before the year 9000"),
        ("expires_at", "0001-01-01T00:00:00+14:00", "in the future"),
        ("expires_at", "2099-01-01T00:00:00", "timezone"),
        ("expires_at", "soon", ""),
        ("expires_at", 4_102_444_800, "2027-01-31T12:00:00Z"),
        ("expires_at", True, "2027-01-31T12:00:00Z"),
        ("networks", ["10.0.0.1/8"], "host bits set"),
        ("networks", ["example.com"], "10.0.0.0/8"),
        ("networks", ["10.0.0.0/33"], "10.0.0.0/8"),
        ("networks", ["fe80::1%" + "a" * 90], "names a zone"),
        ("networks", [""], "10.0.0.0/8"),
        ("networks", ["10.0.0.1"] * 101, ""),
        ("networks", None, ""),
        ("network", ["10.0.0.1"], "Did you mean networks?"),
    ],
)
def test_a_bad_field_is_named_and_nothing_changes(admin, field, value, why):
    row, _ = mint_api_key(name="ci", scopes=["read"])
    answers = [admin.post("/api-keys", {"name": "new", "scopes": ["read"], field: value})]
    if field != "scopes":
        answers.append(patch(admin, f"/api-keys/{row.pk}", {field: value}))
    for answer in answers:
        assert answer.status_code == 422
        assert any(name.startswith(field) and why in text for name, text in answer.json()["fields"].items())
    assert sorted(ApiKey.objects.values_list("name", flat=True)) == ["ci", "script"]
    assert ApiKey.objects.filter(expires_at=None, networks=[]).count() == 2


def test_the_scopes_of_a_key_never_change(admin):
    row, _ = mint_api_key(name="ci", scopes=["read"])
    assert patch(admin, f"/api-keys/{row.pk}", {"scopes": ["admin"]}).json()["fields"].keys() == {"scopes"}
    assert ApiKey.objects.get(pk=row.pk).scopes == ["read"]


def test_an_expired_key_is_refused_by_the_clock_of_the_database(admin):
    row, key = mint_api_key(name="ci", scopes=["read"], expires_at=datetime.now(UTC) + timedelta(days=1))
    assert reads(key) == (200, "")
    ApiKey.objects.filter(pk=row.pk).update(expires_at="2026-01-02T03:04Z")
    assert reads(key) == (401, "expired")
    assert "2026-01-02 03:04 UTC" in Caller(key).get("/workspaces").json()["error"]
    assert next(each for each in admin.get("/api-keys").json() if each["id"] == row.pk)["state"] == "expired"
    patch(admin, f"/api-keys/{row.pk}", {"expires_at": IN_A_DAY})
    assert reads(key) == (200, "")


@pytest.mark.parametrize(
    ("networks", "address", "is_allowed"),
    [
        ([], "203.0.113.9", True),
        (["10.0.0.0/8"], "10.255.0.1", True),
        (["10.0.0.0/8"], "11.0.0.1", False),
        (["10.0.0.0/8", "192.0.2.7"], "192.0.2.7", True),
        (["10.0.0.0/8"], "::ffff:10.0.0.1", True),
        (["2001:db8::/32"], "2001:db8:1::1", True),
        (["2001:db8::/32"], "10.0.0.1", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["0.0.0.0/0"], "", False),
        (["0.0.0.0/0"], "unix:/run/x", False),
    ],
)
def test_a_key_with_networks_is_used_from_nowhere_else(networks, address, is_allowed):
    _, key = mint_api_key(name="ci", scopes=["read"], networks=networks)
    assert reads(key, address=address) == ((200, "") if is_allowed else (403, "forbidden_address"))


def test_the_last_use_is_written_at_most_once_a_minute_and_only_for_uses_that_are_allowed():
    row, key = mint_api_key(name="ci", scopes=["read"], networks=["10.0.0.0/8"])

    def last_use(address="10.0.0.1"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            reads(key, address=address)
        writes = [each for each in queries if each["sql"].startswith("UPDATE")]
        return len(writes), ApiKey.objects.get(pk=row.pk).last_used_at

    assert last_use(address="192.0.2.1") == (0, None)
    writes, first = last_use()
    assert (writes, first is not None) == (1, True)
    assert last_use() == (0, first)
    earlier = first - timedelta(seconds=61)
    ApiKey.objects.filter(pk=row.pk).update(last_used_at=earlier)
    writes, second = last_use()
    assert writes == 1
    assert second > earlier


@pytest.mark.django_db(transaction=True)
def test_no_request_waits_for_a_key_that_somebody_else_has_locked():
    row, key = mint_api_key(name="ci", scopes=["read"])
    other = connection.copy()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM workspaces_apikey WHERE id = %s FOR UPDATE", [row.pk])
        assert reads(key) == (200, "")
        assert ApiKey.objects.get(pk=row.pk).last_used_at is None
    finally:
        other.close()
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    reads(key)
    assert ApiKey.objects.get(pk=row.pk).last_used_at is not None


@pytest.mark.django_db(transaction=True)
def test_a_live_stream_ends_once_its_key_may_not_be_used_from_its_address():
    row, key = mint_api_key(name="ci", scopes=["read"])
    headers = [(b"authorization", f"Bearer {key}".encode())]
    about = {"type": "http", "method": "GET", "path": "/events/stream", "query_string": b"", "headers": headers}
    streams = [
        SimpleNamespace(scope={**about, "client": (address, 1)}, workspace_id=None)
        for address in ("10.0.0.1", "10.0.0.2", "10.0.0.1")
    ]
    assert asyncio.run(find_revoked(streams, authorize=require_reader)) == []
    change_api_key(row.pk, {"networks": ["10.0.0.1"]})
    [(stream, refusal)] = asyncio.run(find_revoked(streams, authorize=require_reader))
    assert (stream, refusal.status) == (streams[1], 403)
