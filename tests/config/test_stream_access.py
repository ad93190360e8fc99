"""Who may listen to the live streams."""

from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.test import Client, RequestFactory

from config.stream_access import require_reader
from events.live.stream import StreamRefused
from tests.callers import AgentCaller, Caller, holder
from tests.workspaces.factories import booting
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db


def answer(request, workspace_id=None):
    try:
        require_reader(request, workspace_id)
    except StreamRefused as refusal:
        return refusal.status
    return 200


def asked(caller, workspace_id=None):
    path = f"/workspaces/{workspace_id}/events/stream" if workspace_id else "/events/stream"
    return answer(RequestFactory().get(path, headers=caller.headers), workspace_id)


@pytest.mark.parametrize(
    ("scope", "status"), [(ApiScope.READ, 200), (ApiScope.OPERATE, 200), (ApiScope.ADMIN, 200), (ApiScope.WATCH, 403)]
)
def test_the_scope_of_a_key_decides_whether_it_may_listen(scope, status):
    assert asked(holder(scope)) == status
    assert asked(holder(scope), uuid4()) == status


def test_an_agent_or_an_anonymous_client_may_not_listen_to_all_workspaces():
    assert asked(AgentCaller(booting())) == 403
    assert asked(Caller("no-such-key")) == 401
    assert asked(Caller()) == 401


def test_an_agent_may_listen_only_to_its_own_workspace():
    own, other = booting(), booting()
    assert asked(AgentCaller(own), own.pk) == 200
    assert asked(AgentCaller(own), other.pk) == 403


@pytest.mark.parametrize(("is_staff", "status"), [(True, 200), (False, 403)])
def test_an_operator_may_listen_and_another_user_may_not(is_staff, status):
    client = Client()
    client.force_login(get_user_model().objects.create_user("someone", is_staff=is_staff, is_superuser=True))
    request = RequestFactory().get("/events/stream")
    request.COOKIES["sessionid"] = client.cookies["sessionid"].value
    assert answer(request) == status
