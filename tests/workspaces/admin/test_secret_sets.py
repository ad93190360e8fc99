"""Sets of secrets, and what a changed secret shows, in the admin."""

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from postgres import encryption
from tests.workspaces import factories
from tests.workspaces.factories import config_for
from workspaces.access.secret_sets import create_set
from workspaces.access.secrets import put_secrets, read_environment
from workspaces.models import Secret, SecretSet, Workspace
from workspaces.services.core.secret_changes import set_secrets

pytestmark = pytest.mark.django_db

LIST = reverse("admin:workspaces_workspace_changelist")


@pytest.fixture
def operator():
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("root"))
    return client


def page_of(row):
    return reverse(f"admin:workspaces_{row._meta.model_name}_change", args=[row.pk])


def test_a_set_is_added_filled_shown_and_deleted(operator):
    operator.post(reverse("admin:workspaces_secretset_add"), {"name": "research"})
    add = reverse("admin:workspaces_secret_add")
    operator.post(add, {"secret_set": "research", "name": "KEY", "value": "first-s3cr3t"})
    operator.post(add, {"secret_set": "research", "name": "KEY", "value": "second-s3cr3t"})
    secret = Secret.objects.get()
    assert (secret.secret_set_id, secret.version, secret.set_by) == ("research", 2, "root")
    for model, texts in (("secretset", ["research", "KEY"]), ("secret", ["set research", "root"])):
        page = operator.get(reverse(f"admin:workspaces_{model}_changelist")).content.decode()
        assert all(text in page for text in texts)
        assert "s3cr3t" not in page
    operator.post(reverse("admin:workspaces_secretset_delete", args=["research"]), {"post": "yes"})
    assert not SecretSet.objects.exists()


@pytest.mark.parametrize("name", ["Two Words", "", "-x", "x" * 64])
def test_a_bad_name_is_refused(operator, name):
    answer = operator.post(reverse("admin:workspaces_secretset_add"), {"name": name})
    assert answer.context["adminform"].form.errors
    assert not SecretSet.objects.exists()


def test_a_secret_belongs_to_a_workspace_or_a_set_but_not_both(operator):
    create_set("research")
    data = {"workspace": str(factories.online().pk), "secret_set": "research", "name": "KEY", "value": "s3cr3t"}
    answer = operator.post(reverse("admin:workspaces_secret_add"), data)
    assert "not both" in answer.content.decode()
    assert not Secret.objects.exists()


def test_a_secret_beyond_the_thousandth_is_refused_at_its_form(operator):
    create_set("research")
    old = encryption.encrypt("x")
    Secret.objects.bulk_create(
        Secret(name=f"OLD_{number}", secret_set_id="research", ciphertext=old) for number in range(1000)
    )
    add = reverse("admin:workspaces_secret_add")
    answer = operator.post(add, {"secret_set": "research", "name": "NEW", "value": "s3cr3t"})
    assert (answer.status_code, "there would be 1001 secrets" in answer.content.decode()) == (200, True)
    operator.post(add, {"secret_set": "research", "name": "OLD_1", "value": "s3cr3t"})
    operator.post(add, {"secret_set": "", "name": "NEW", "value": "s3cr3t"})
    assert sorted(Secret.objects.exclude(ciphertext=old).values_list("name", flat=True)) == ["NEW", "OLD_1"]


def test_a_set_that_a_workspace_has_can_not_be_deleted(operator):
    create_set("research")
    factories.online(secret_sets=["research"])
    address = reverse("admin:workspaces_secretset_delete", args=["research"])
    assert operator.post(address, {"post": "yes"}).status_code == 403
    data = {"action": "delete_selected", "_selected_action": ["research"], "post": "yes"}
    operator.post(reverse("admin:workspaces_secretset_changelist"), data)
    assert SecretSet.objects.exists()


def settings_of(workspace, **changes):
    fields = {"name": workspace.name, "role": "", "tier": 1, "labels": "", "provision_timeout_seconds": ""}
    return {**fields, "hibernation_idle_minutes": "", "restart_policy": "never", "secret_sets": "", **changes}


def test_the_sets_of_a_workspace_are_changed_in_their_order_and_the_launch_needs_a_restart(operator):
    for name in ("first", "second"):
        create_set(name)
        put_secrets({"KEY": name}, workspace_id=None, secret_set=name)
    workspace = factories.online()
    operator.post(page_of(workspace), settings_of(workspace, secret_sets="first\nsecond", role="tester"))
    changed = Workspace.objects.get()
    assert (changed.secret_sets, changed.role, changed.needs_restart) == (["first", "second"], "tester", True)
    assert read_environment(workspace.pk) == {"KEY": "second"}
    assert "first\nsecond</textarea>" in operator.get(page_of(workspace)).content.decode()
    answer = operator.post(page_of(workspace), settings_of(workspace, secret_sets="nobody"))
    assert "There is no secret set &#x27;nobody&#x27;." in answer.content.decode()
    assert Workspace.objects.get().secret_sets == ["first", "second"]


def test_a_workspace_is_created_with_sets(operator):
    create_set("research")
    data = {"config": config_for("echo"), "secret_sets": "research"}
    operator.post(reverse("admin:workspaces_workspace_add"), data)
    assert Workspace.objects.get().secret_sets == ["research"]


def test_the_list_shows_and_filters_who_needs_a_restart(operator):
    changed = factories.online(name="changed-one")
    factories.online(name="other-one")
    set_secrets({"KEY": "x"}, workspace_id=changed.pk, by="root")
    page = operator.get(LIST).content.decode()
    assert page.count("Needs a restart: its secrets have changed") == 1
    assert "other-one" in page
    filtered = operator.get(LIST, {"needs_restart": "yes"}).content.decode()
    assert "changed-one" in filtered
    assert "other-one" not in filtered
    assert "Needs a restart: its secrets have changed" in operator.get(page_of(changed)).content.decode()


def test_the_pages_open(operator):
    create_set("research")
    for address in (reverse("admin:workspaces_secretset_changelist"), reverse("admin:workspaces_secretset_add")):
        assert operator.get(address).status_code == 200
    assert operator.get(page_of(SecretSet.objects.get())).status_code == 200
