"""Who may listen to the live stream."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory

from config.access import may_read_events
from tests.callers import AgentCaller, Caller, holder
from tests.workspaces.factories import booting
from workspaces.models import ApiScope

pytestmark = pytest.mark.django_db


def listens(caller: Caller) -> bool:
    request = RequestFactory().get("/events/stream", headers=caller.headers)
    request.user = AnonymousUser()
    return may_read_events(request)


@pytest.mark.parametrize(
    ("scope", "may"), [(ApiScope.READ, True), (ApiScope.OPERATE, True), (ApiScope.ADMIN, True), (ApiScope.WATCH, False)]
)
def test_a_key_listens_by_its_scope(scope: ApiScope, may: bool) -> None:
    assert listens(holder(scope)) is may


def test_an_agent_or_a_stranger_does_not_listen_to_all_workspaces() -> None:
    assert not listens(AgentCaller(booting()))
    assert not listens(Caller("no-such-key"))
    assert not listens(Caller())


@pytest.mark.parametrize("is_staff", [True, False])
def test_an_operator_listens_and_another_user_does_not(is_staff: bool) -> None:
    request = RequestFactory().get("/events/stream")
    request.user = get_user_model().objects.create_user("someone", is_staff=is_staff, is_superuser=True)
    assert may_read_events(request) is is_staff
