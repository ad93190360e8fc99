"""`manage.py secret`: values come from the standard input or a file, and never go anywhere else."""

import io
import json
import subprocess
import sys
from contextlib import suppress

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection, transaction
from django.test import override_settings
from psycopg import sql

from events.delivery.channel_operations import all_options
from events.models import Channel
from postgres import encryption
from tests.callers import holder
from tests.events.channels.factories import webhook
from tests.waiting import PATIENCE_SECONDS
from tests.workspaces.factories import config_for, online
from workspaces.access.secrets import delete_secrets, put_secrets, read_environment
from workspaces.key_rotation import ENCRYPTED, rotate_keys
from workspaces.models import ApiScope, RetiredSecret, Secret, SecretSet, StoredAnswer

pytestmark = pytest.mark.django_db

VALUE = "hunter2-hunter2"


@pytest.fixture
def given(monkeypatch):
    """Return a function that makes bytes the standard input."""

    def give(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def run(*arguments):
    out, err = io.StringIO(), io.StringIO()
    call_command("secret", *arguments, stdout=out, stderr=err)
    shown = out.getvalue() + err.getvalue()
    assert VALUE not in shown
    return shown


def test_a_value_from_the_standard_input_is_global_and_each_set_is_a_new_version(given):
    for version in (1, 2):
        given(f"{VALUE}-{version}\n".encode())
        assert f"Set KEY (global), version {version}, 2" in run("set", "KEY")
    assert read_environment(online().pk) == {"KEY": f"{VALUE}-2"}
    assert (Secret.objects.get().version, Secret.objects.get().set_by) == (2, "manage.py")


def test_a_file_of_several_lines_is_one_workspaces_own(tmp_path):
    workspace = online(name="nightly")
    (tmp_path / "key.pem").write_text(f"{VALUE}\nsecond line\n\n")
    assert "Set KEY (workspace nightly)" in run(
        "set", "KEY", "--workspace", "nightly", "--from-file", str(tmp_path / "key.pem")
    )
    # Only the last line break goes.
    assert read_environment(workspace.pk) == {"KEY": f"{VALUE}\nsecond line\n"}
    assert read_environment(online().pk) == {}


def test_the_list_has_versions_and_who_set_them_and_no_value(given):
    workspace = online(name="nightly", secrets={"OWN": VALUE}, by="the API key ci")
    put_secrets({"KEY": VALUE}, workspace_id=None, by="root")
    text = run("list")
    assert "KEY (global), version 1" in text
    assert " by root\n" in text
    assert "OWN (workspace nightly), version 1" in text
    assert "2 secrets." in text
    (row,) = json.loads(run("list", "--workspace", "nightly", "--format", "json"))
    assert (row["name"], row["workspace_id"], row["set_by"]) == ("OWN", str(workspace.pk), "the API key ci")
    assert set(row) == {"name", "workspace_id", "secret_set", "version", "set_at", "set_by"}


def test_a_set_is_created_by_its_first_secret_and_its_secrets_are_listed_and_deleted(given):
    workspace = online(name="nightly")
    given(VALUE.encode())
    assert "Set KEY (set research), version 1" in run("set", "KEY", "--set", "research")
    assert read_environment(workspace.pk) == {}
    assert "KEY (set research)" in run("list")
    assert "1 secret." in run("list", "--set", "research")
    assert run("delete", "KEY", "--set", "research") == "Deleted KEY (set research).\n"
    for arguments in (["list"], ["delete", "KEY"]):
        with pytest.raises(CommandError, match="There is no secret set 'nobody'"):
            run(*arguments, "--set", "nobody")


def test_a_deleted_secret_is_gone_and_one_of_another_owner_stays():
    workspace = online(name="nightly", secrets={"KEY": VALUE})
    put_secrets({"KEY": "other"}, workspace_id=None)
    assert run("delete", "KEY", "--workspace", "nightly") == "Deleted KEY (workspace nightly).\n"
    assert read_environment(workspace.pk) == {"KEY": "other"}
    with pytest.raises(CommandError, match="There is no secret 'KEY' here"):
        run("delete", "KEY", "--workspace", "nightly")


@pytest.mark.parametrize(
    ("arguments", "content", "error"),
    [
        (["set", "KEY"], b"", "The value of KEY is empty"),
        (["set", "KEY"], b"a\0b", "NUL"),
        (["set", "KEY"], b"\xff", "The standard input is not UTF-8 text (byte 0)"),
        (["set", "KEY"], b"x" * 300_000, "The standard input is larger than 256 KiB"),
        (["set", "KEY"], b"x" * 70_000, "longer than 65536 characters"),
        (["set", "PORT"], b"x", "PORT is set by Slipway itself"),
        (["set", "not a name"], b"x", "not a valid environment variable name"),
        (["set", "KEY", "--set", "No Name"], b"x", "The name of a set has lower-case letters"),
        (["set", "KEY", "--set", ""], b"x", "This field cannot be blank"),
        (["set", "KEY", "--set", "a", "--workspace", "b"], b"x", "not allowed with argument"),
        (["set", "PORT", "--set", "a"], b"x", "PORT is set by Slipway itself"),
        (["set", "KEY", "--workspace", "nobody"], b"x", "There is no workspace 'nobody'"),
        (["set", "KEY", "--from-file", "/no/such/file"], b"x", "/no/such/file can't be read"),
        (["set", "KEY", "value"], b"x", "unrecognized arguments: value"),
        (["set"], b"x", "required: name"),
        (["delete", "KEY"], b"", "There is no secret 'KEY' here"),
        ([], b"", "required"),
    ],
)
def test_what_can_not_be_done_is_refused_in_a_sentence_and_nothing_is_stored(given, arguments, content, error):
    given(content)
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert error in str(refused.value)
    assert not Secret.objects.exists()
    assert not SecretSet.objects.exists()


OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def fill():
    """Store everything that is encrypted, and return a function that reads all of it."""
    workspace, caller = online(secrets={"OWN": VALUE}), holder(ApiScope.OPERATE)
    webhook("http://localhost:9")
    put_secrets({"KEY": "old"}, workspace_id=None)
    put_secrets({"KEY": VALUE, "GONE": VALUE}, workspace_id=None)
    delete_secrets(Secret.objects.filter(name="GONE"))
    headers = {**caller.headers, "Idempotency-Key": "k"}
    body = {"name": "w", "config": config_for("echo")}

    def read():
        answer = caller.client.post("/workspaces", body, content_type="application/json", headers=headers)
        retired = sorted(encryption.decrypt(row.ciphertext) for row in RetiredSecret.objects.all())
        return read_environment(workspace.pk), all_options(Channel.objects.get()), answer.json(), retired

    return read


def test_after_a_rotation_everything_is_readable_with_the_new_key_alone_and_unchanged():
    with override_settings(SECRETS_KEYS=[OLD]):
        read = fill()
        expected, before = read(), list(Secret.objects.values("version", "updated_at", "set_by"))
    with override_settings(SECRETS_KEYS=[NEW, OLD]):
        assert "Done: 6 re-encrypted, 0 had the first key already." in run("rotate-keys")
        assert "Done: 0 re-encrypted, 6 had the first key already." in run("rotate-keys")
    with override_settings(SECRETS_KEYS=[NEW]):
        assert read() == expected
    assert list(Secret.objects.values("version", "updated_at", "set_by")) == before


def test_everything_that_is_encrypted_is_rotated():
    """What SECRETS_KEYS encrypt begins with this, so a column that ENCRYPTED leaves out is found here."""
    fill()()
    found = set()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            names = [column.name for column in cursor.description]
            found |= {
                (table, name)
                for row in cursor.fetchall()
                for name, value in zip(names, row, strict=True)
                if str(value).startswith("gAAAA")
            }
    assert found == {(column.model._meta.db_table, column.name) for column in ENCRYPTED}


def test_a_rotation_that_ends_at_any_row_is_finished_by_the_next(monkeypatch):
    rotate = encryption.rotate
    for last in range(6):
        StoredAnswer.objects.all().delete()
        with override_settings(SECRETS_KEYS=[OLD]):
            for column in ENCRYPTED:
                column.model.objects.all().delete()
            read = fill()
            expected = read()
        done = 0

        def until_killed(ciphertext, last=last):
            nonlocal done
            if done == last:
                raise KeyboardInterrupt
            done += 1
            return rotate(ciphertext)

        with override_settings(SECRETS_KEYS=[NEW, OLD]):
            monkeypatch.setattr(encryption, "rotate", until_killed)
            with suppress(KeyboardInterrupt):
                run("rotate-keys")
            monkeypatch.setattr(encryption, "rotate", rotate)
            assert read() == expected
            assert f"Done: {6 - last} re-encrypted, {last} had the first key already." in run("rotate-keys")
        with override_settings(SECRETS_KEYS=[NEW]):
            assert read() == expected


def test_what_no_key_can_decrypt_is_named_and_harms_no_other_row():
    with override_settings(SECRETS_KEYS=[Fernet.generate_key().decode()]):
        put_secrets({"LOST": VALUE}, workspace_id=None)
    with override_settings(SECRETS_KEYS=[OLD]):
        put_secrets({"AFTER": VALUE}, workspace_id=None)
    out, err = io.StringIO(), io.StringIO()
    with override_settings(SECRETS_KEYS=[NEW, OLD]), pytest.raises(SystemExit) as ended:
        call_command("secret", "rotate-keys", stdout=out, stderr=err)
    assert ended.value.code == 1
    assert "Done: 1 re-encrypted, 0 had the first key already, 1 can't be decrypted." in out.getvalue()
    assert "secret LOST (global)" in err.getvalue()
    with override_settings(SECRETS_KEYS=[NEW]):
        assert encryption.decrypt(Secret.objects.get(name="AFTER").ciphertext) == VALUE


def test_a_secret_that_is_set_meanwhile_is_not_overwritten(monkeypatch):
    with override_settings(SECRETS_KEYS=[OLD]):
        put_secrets({"KEY": "old value"}, workspace_id=None)
    rotate = encryption.rotate

    def slow(ciphertext):
        put_secrets({"KEY": "new value"}, workspace_id=None)
        return rotate(ciphertext)

    with override_settings(SECRETS_KEYS=[NEW, OLD]):
        monkeypatch.setattr(encryption, "rotate", slow)
        (*_, done) = rotate_keys()
        assert read_environment(online().pk) == {"KEY": "new value"}
    # The retired one.
    assert done.rotated <= 1


@pytest.mark.journey
@pytest.mark.django_db(transaction=True)
def test_a_rotation_that_is_killed_in_the_middle_is_finished_by_the_next(child_environment):
    number = 3000
    with override_settings(SECRETS_KEYS=[OLD]):
        text = encryption.encrypt(VALUE)
        Secret.objects.bulk_create(Secret(name=f"K{place}", ciphertext=text) for place in range(number))
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "secret", "rotate-keys"]
    child_environment |= {"SECRETS_KEYS": f"{NEW},{OLD}"}
    with transaction.atomic(), connection.cursor() as cursor:
        # It comes no further than to this row.
        Secret.objects.select_for_update().get(name="K1500")
        with subprocess.Popen(command, env=child_environment, stdout=subprocess.PIPE, text=True) as rotating:
            assert f"of {number} rows" in rotating.stdout.readline()
            rotating.kill()
            rotating.communicate()
        # Postgres would finish the statement that waits for the row.
        cursor.execute(
            "SELECT pg_terminate_backend(pid, %s) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            [int(PATIENCE_SECONDS * 1000)],
        )
    with override_settings(SECRETS_KEYS=[NEW, OLD]):
        current = [encryption.is_current(row.ciphertext) for row in Secret.objects.all()]
        assert 0 < sum(current) < number
        assert f"Done: {number - sum(current)} re-encrypted, {sum(current)} had" in run("rotate-keys")
    with override_settings(SECRETS_KEYS=[NEW]):
        assert all(encryption.decrypt(row.ciphertext) == VALUE for row in Secret.objects.all())
