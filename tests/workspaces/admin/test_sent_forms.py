"""A form acts once however often it is sent, and what is shown once is in the answer itself."""

import re
import threading

import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError, connection
from django.test import Client

from events.delivery.channel_operations import all_options
from events.models import Channel, SentForm
from postgres.clock import database_now
from tests.workspaces import factories
from workspaces.access.api_keys import find_api_key
from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.models import AgentToken, ApiKey, Launch, Workspace

ADD = "/admin/workspaces/workspace/add/"
PASSWORDS = {"password1": "Correct-horse-9", "password2": "Correct-horse-9"}
WEBHOOK = {"name": "ops", "concurrency": "4", "timeout_seconds": "10", "url": "https://8.8.8.8/"}
CREATING = [
    (ADD, {"template": "echo", "name": "mine"}, Workspace),
    ("/admin/workspaces/apikey/add/", {"name": "ci", "scopes": ["read"]}, ApiKey),
    ("/admin/events/channel/add/?kind=webhook", WEBHOOK, Channel),
    ("/admin/events/channel/add/?kind=log", {**WEBHOOK, "level": "INFO"}, Channel),
    (
        "/admin/auth/user/add/",
        {"username": "someone", **PASSWORDS},
        User,
    ),
    ("/admin/auth/group/add/", {"name": "operators"}, Group),
]
KINDS = [path for path, _, _ in CREATING]


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("operator"))
    return client


def token_of(page):
    """Return the token of the page's form."""
    assert page.status_code == 200
    [token] = re.findall(r'name="form_token" value="([^"]+)"', page.content.decode())
    return token


@pytest.mark.django_db
@pytest.mark.parametrize(("path", "fields", "model"), CREATING, ids=KINDS)
def test_a_form_that_is_sent_twice_creates_one(operator, path, fields, model):
    before = model.objects.count()
    form = {**fields, "form_token": token_of(operator.get(path))}
    first = operator.post(path, form)
    again = operator.post(path, form, follow=True)
    assert model.objects.count() == before + 1
    assert again.status_code == 200
    assert b"sent twice" in again.content
    if first.status_code == 302:
        assert again.redirect_chain[0][0] == first["Location"]
    assert not User.objects.filter(username="").exists()
    other = {**form, "form_token": token_of(operator.get(path)), "name": "other", "username": "other"}
    operator.post(path, other)
    assert model.objects.count() == before + 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("path", "fields", "model"), CREATING, ids=KINDS)
def test_a_form_that_is_sent_five_times_at_once_creates_one(operator, path, fields, model):
    before = model.objects.count()
    form = {**fields, "form_token": token_of(operator.get(path))}
    start, statuses = threading.Barrier(5), []

    def send():
        own = Client()
        own.cookies = operator.cookies
        start.wait()
        statuses.append(own.post(path, form).status_code)
        connection.close()

    senders = [threading.Thread(target=send) for _ in range(5)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert model.objects.count() == before + 1
    assert set(statuses) <= {200, 302}


@pytest.mark.django_db
def test_a_form_with_an_error_can_be_sent_again(operator):
    form = {"template": "", "form_token": token_of(operator.get(ADD))}
    answer = operator.post(ADD, form)
    assert not Workspace.objects.exists()
    operator.post(ADD, {**form, "template": "echo", "form_token": token_of(answer)})
    operator.post(ADD, {**form, "template": "echo"})
    assert Workspace.objects.count() == 2


@pytest.mark.django_db
@pytest.mark.parametrize("token", ["", "nonsense", "\0", "x" * 5000])
def test_a_form_without_a_token_acts_each_time(operator, token):
    for _ in range(2):
        operator.post("/admin/workspaces/apikey/add/", {"name": "ci", "scopes": ["read"], "form_token": token})
    assert ApiKey.objects.count() == 2


@pytest.mark.django_db
def test_a_restart_that_is_sent_twice_launches_once(operator):
    row = factories.online()
    path = f"/admin/workspaces/workspace/{row.pk}/restart/"
    form = {"form_token": token_of(operator.get(path))}
    for _ in range(2):
        assert operator.post(path, form, follow=True).status_code == 200
    assert Launch.objects.filter(workspace=row).count() == 2


@pytest.mark.django_db
def test_a_confirmed_selection_that_is_sent_twice_acts_once(operator):
    row = factories.online()
    selected = {"action": "pause_selected", "_selected_action": [str(row.pk)]}
    page = operator.post("/admin/workspaces/workspace/", selected)
    form = {**selected, "confirmed": "yes", "form_token": token_of(page)}
    operator.post("/admin/workspaces/workspace/", form)
    answer = operator.post("/admin/workspaces/workspace/", form, follow=True)
    assert b"sent twice" in answer.content


@pytest.mark.django_db
@pytest.mark.parametrize("is_list", [False, True])
def test_an_operation_that_raised_can_be_sent_again(operator, monkeypatch, is_list):
    row = factories.online()
    path = "/admin/workspaces/workspace/" if is_list else f"/admin/workspaces/workspace/{row.pk}/pause/"
    form = {"action": "pause_selected", "_selected_action": [str(row.pk)], "confirmed": "yes"} if is_list else {}
    form["form_token"] = token_of(operator.post(path, {**form, "confirmed": ""}) if is_list else operator.get(path))
    operator.raise_request_exception = False
    with monkeypatch.context() as patched:
        patched.setattr("workspaces.admin.actions.run_each", lost_connection)
        assert operator.post(path, form).status_code >= 500
    assert b"sent twice" not in operator.post(path, form, follow=True).content
    row.refresh_from_db()
    assert row.status == WorkspaceStatus.PAUSED
    assert b"sent twice" in operator.post(path, form, follow=True).content


def lost_connection(*arguments, **options):
    raise OperationalError("server closed the connection unexpectedly")


@pytest.mark.django_db
def test_an_action_on_a_channel_that_raised_can_be_sent_again(operator):
    operator.post("/admin/events/channel/add/?kind=webhook", WEBHOOK)
    channel = Channel.objects.get()
    path = f"/admin/events/channel/{channel.pk}/rotate/"
    form = {"form_token": token_of(operator.get(path))}
    operator.raise_request_exception = False
    Channel.objects.update(sealed_options="encrypted with a key that is missing")
    assert operator.post(path, form).status_code == 500
    Channel.objects.update(sealed_options=channel.sealed_options)
    [secret] = shown(operator.post(path, form))
    channel.refresh_from_db()
    assert all_options(channel)["signing"][0]["secret"] == secret
    assert b"sent twice" in operator.post(path, form, follow=True).content


@pytest.mark.django_db
def test_tokens_of_forms_are_kept_for_a_day(operator):
    old = SentForm.objects.create(token=token_of(operator.get(ADD)))
    SentForm.objects.filter(pk=old.pk).update(created_at=database_now().replace(year=2020))
    operator.post(ADD, {"template": "echo", "form_token": token_of(operator.get(ADD))})
    assert [str(each.pk) for each in SentForm.objects.all()] != [str(old.pk)]
    assert not SentForm.objects.filter(pk=old.pk).exists()


# --- Shown once ------------------------------------------------------------------------------------


def shown(answer):
    """Return the values that the answer itself shows; nothing of them may be in a cookie or stay in a cache."""
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    values = [value for _, value in answer.context["values"]]
    text = answer.content.decode()
    assert text.count("data-copy=") == len(values)
    cookies = " ".join(morsel.value for morsel in answer.client.cookies.values())
    for value in values:
        assert f'value="{value}"' in text
        assert value not in cookies
    return values


@pytest.mark.django_db
def test_a_new_key_is_in_the_answer_itself_and_no_other_tab_takes_it(operator):
    answer = operator.post("/admin/workspaces/apikey/add/", {"name": "ci", "scopes": ["read"]})
    [key] = shown(answer)
    assert find_api_key(key) is not None
    assert key not in operator.get("/admin/").content.decode()


@pytest.mark.django_db
def test_a_channel_s_secret_is_in_the_answer_itself(operator):
    [secret] = shown(operator.post("/admin/events/channel/add/?kind=webhook", WEBHOOK))
    channel = Channel.objects.get()
    assert all_options(channel)["signing"][0]["secret"] == secret
    [rotated] = shown(operator.post(f"/admin/events/channel/{channel.pk}/rotate/"))
    channel.refresh_from_db()
    assert rotated in {each["secret"] for each in all_options(channel)["signing"]} - {secret}
    elsewhere = {**WEBHOOK, "url": "https://8.8.4.4/"}
    [bound] = shown(operator.post(f"/admin/events/channel/{channel.pk}/change/", elsewhere))
    assert bound not in {secret, rotated}


@pytest.mark.django_db
@pytest.mark.parametrize("is_list", [False, True])
def test_an_agent_s_new_token_is_in_the_answer_itself(operator, is_list):
    row = factories.external()
    if is_list:
        form = {"action": "restart_selected", "_selected_action": [str(row.pk)], "confirmed": "yes"}
        answer = operator.post("/admin/workspaces/workspace/", form)
    else:
        answer = operator.post(f"/admin/workspaces/workspace/{row.pk}/restart/")
    [token] = shown(answer)
    assert AgentToken.objects.filter(workspace=row, revoked_at=None).exists()
    assert token not in operator.get("/admin/").content.decode()


@pytest.mark.django_db
def test_a_key_s_answer_that_is_sent_again_makes_no_second_key(operator):
    form = {"name": "ci", "scopes": ["read"]}
    form["form_token"] = token_of(operator.get("/admin/workspaces/apikey/add/"))
    shown(operator.post("/admin/workspaces/apikey/add/", form))
    again = operator.post("/admin/workspaces/apikey/add/", form, follow=True)
    assert again.redirect_chain[0][0] == "/admin/workspaces/apikey/"
    assert ApiKey.objects.count() == 1
