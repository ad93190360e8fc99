"""What a form needs is deleted or taken between its check and its storage: it says so and changes nothing."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.urls import reverse

from events.models import Channel
from postgres.clock import database_now
from tests.waiting import PATIENCE_SECONDS, wait_until
from tests.workspaces.factories import online
from workspaces.access.api_keys import mint_api_key
from workspaces.access.secret_sets import create_set, delete_set
from workspaces.access.secrets import InvalidSecret
from workspaces.models import ApiKey, Secret, SecretSet, Workspace
from workspaces.services.core.secret_changes import changing_sets, set_secrets

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("operator"))
    return client


def waiting_sessions():
    with connection.cursor() as cursor:
        # A transaction goes on seeing the sessions that it saw first.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return cursor.fetchone()[0]


@contextmanager
def posting(operator, address, data):
    """Send a form while the block's transaction is open, and commit once it waits for that. Gives [the page]."""

    def post():
        try:
            return operator.post(address, data, follow=True)
        finally:
            connection.close()

    answers = []
    with transaction.atomic():
        yield answers
        sent = ThreadPoolExecutor(1).submit(post)
        wait_until(waiting_sessions)
    answers.append(sent.result(PATIENCE_SECONDS).content.decode())


def add(model):
    return reverse(f"admin:{model}_add")


def test_a_secret_is_refused_if_its_set_is_deleted_meanwhile(operator):
    create_set("research")
    data = {"secret_set": "research", "name": "KEY", "value": "s3cr3t"}
    with posting(operator, add("workspaces_secret"), data) as pages:
        delete_set("research")
    assert "Nothing was changed. There is no secret set &#x27;research&#x27; any more." in pages[0]
    assert not Secret.objects.exists()


def test_a_set_is_kept_if_a_workspace_gets_it_meanwhile(operator):
    create_set("research")
    workspace = online(name="nightly")
    address = reverse("admin:workspaces_secretset_delete", args=["research"])
    with posting(operator, address, {"post": "yes"}) as pages, changing_sets(workspace.pk, ["research"], by="other"):
        Workspace.objects.filter(pk=workspace.pk).update(secret_sets=["research"])
    assert "Nothing was changed. The secret set research can&#x27;t be deleted: nightly have it." in pages[0]
    assert SecretSet.objects.exists()


def test_a_workspace_is_left_as_it_is_if_the_set_that_it_should_get_is_deleted_meanwhile(operator):
    create_set("research")
    workspace = online()
    data = {"name": workspace.name, "role": "", "tier": 1, "labels": "", "provision_timeout_seconds": ""}
    data |= {"hibernation_idle_minutes": "", "restart_policy": "never", "secret_sets": "research"}
    address = reverse("admin:workspaces_workspace_change", args=[workspace.pk])
    with posting(operator, address, data) as pages:
        delete_set("research")
    assert "Nothing was changed. There is no secret set &#x27;research&#x27;." in pages[0]
    workspace.refresh_from_db()
    assert (workspace.secret_sets, workspace.restart_policy) == ([], "on-failure")


def test_a_key_is_left_as_it_is_if_it_is_revoked_meanwhile(operator):
    row, _ = mint_api_key(name="ci", scopes=["read"])
    address = reverse("admin:workspaces_apikey_change", args=[row.pk])
    with posting(operator, address, {"name": "other", "networks": ""}) as pages:
        ApiKey.objects.update(revoked_at=database_now())
    assert "Nothing was changed. There is no valid API key" in pages[0]
    assert ApiKey.objects.get().name == "ci"


LOG = {"name": "ops", "concurrency": "4", "timeout_seconds": "10", "level": "INFO"}


def test_a_channel_is_refused_if_its_name_is_taken_meanwhile(operator):
    with posting(operator, f"{add('events_channel')}?kind=log", LOG) as pages:
        Channel.objects.create(name="ops", kind="log", options={"level": "INFO"})
    assert "Nothing was changed. name: There is a channel with this name." in pages[0]
    assert Channel.objects.count() == 1


def test_a_channel_is_not_changed_if_it_is_removed_meanwhile(operator):
    channel = Channel.objects.create(name="audit", kind="log", options={"level": "INFO"})
    address = reverse("admin:events_channel_change", args=[channel.pk])
    with posting(operator, address, LOG) as pages:
        channel.delete()
    assert "Nothing was changed. name: This channel was removed." in pages[0]
    assert not Channel.objects.exists()


def test_no_secret_is_stored_for_a_workspace_that_is_gone():
    with pytest.raises(InvalidSecret, match="can't get secrets"):
        set_secrets({"KEY": "s3cr3t"}, workspace_id=uuid4(), by="root")
    assert not Secret.objects.exists()
