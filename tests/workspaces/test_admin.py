"""The admin: what it shows and triggers, who may, and what bad input gets."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from tests.workspaces import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator"))
    return client


def test_every_page_opens(operator: Client) -> None:
    failed, booting = factories.failed(), factories.booting()
    pages = [reverse("admin:index")]
    for model in ("workspaces_workspace", "workspaces_launch", "workspaces_secret", "workspaces_apikey", "events_event"):
        pages.append(reverse(f"admin:{model}_changelist"))
    for model in ("workspaces_workspace", "workspaces_secret", "workspaces_apikey", "auth_user", "auth_group"):
        pages.append(reverse(f"admin:{model}_add"))
    for workspace in (failed, booting):
        pages.append(reverse("admin:workspaces_workspace_change", args=[workspace.pk]))
        pages.append(reverse("admin:workspaces_launch_change", args=[workspace.launch_id]))

    answers = {page: operator.get(page).status_code for page in pages}

    assert set(answers.values()) == {200}, answers
