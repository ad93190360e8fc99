"""Each address that a person types leads to the fleet."""

import pytest
from django.contrib.auth.models import User

from tests.workspaces.factories import online

pytestmark = pytest.mark.django_db

FLEET = "/admin/"
ENTRIES = [
    "/",
    "/admin",
    "/admin/",
    "/admin/login",
    "/admin/login/",
    "/admin/login/?next=",
    "/admin/login/?next=/",
    "/login",
]
ENTRIES += ["/login/", "/admin/login/?next=https://elsewhere.example/", "/accounts/login/", "/accounts/profile/"]


@pytest.fixture
def operator():
    return User.objects.create_superuser("operator", password="only-for-tests")


def shows_the_fleet(answer):
    return answer.status_code == 200 and b"Workspaces by status" in answer.content


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_page_leads_through_the_sign_in_to_the_fleet(client, operator, entry):
    online()
    page = client.get(entry, follow=True)
    assert page.status_code == 200
    form = page.request["PATH_INFO"] + "?" + page.request["QUERY_STRING"]
    assert form.startswith("/admin/login/")
    answer = client.post(form, {"username": "operator", "password": "only-for-tests"}, follow=True)
    assert answer.redirect_chain[-1][0] == FLEET
    assert shows_the_fleet(answer)


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_page_leads_who_is_signed_in_to_the_fleet(client, operator, entry):
    client.force_login(operator)
    assert shows_the_fleet(client.get(entry, follow=True))


def test_the_page_asked_for_comes_after_the_sign_in(client, operator):
    row = online()
    page = client.get(f"/admin/workspaces/workspace/{row.pk}/change/", follow=True)
    form = page.request["PATH_INFO"] + "?" + page.request["QUERY_STRING"]
    answer = client.post(form, {"username": "operator", "password": "only-for-tests"}, follow=True)
    assert answer.redirect_chain[-1][0].startswith(f"/admin/workspaces/workspace/{row.pk}/")


def test_who_signs_out_may_sign_in_again_and_sees_the_fleet(client, operator):
    client.force_login(operator)
    page = client.post("/admin/logout/", follow=True)
    assert page.status_code == 200
    assert b"/admin/" in page.content
