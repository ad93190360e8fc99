"""IDs that no page sends: an action on them in the admin changes nothing, and is no error of the server."""

from urllib.parse import quote
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User

from events.models import Channel, Delivery, DeliveryState, Event
from postgres.clock import database_now
from tests.events.channels import factories as channels
from tests.workspaces import factories
from workspaces.models import Launch, Secret, Workspace
from workspaces.services.stopping.remove import remove

pytestmark = pytest.mark.django_db

# Python reads Arabic digits as a number: nine of them, since a row may have the number 3.
BAD_IDS = ["nonsense", "", "-1", "9" * 30, "1.5", "1' OR 1=1", "\x00", "٣" * 9, "null"]
ACTIONS = [
    ("events/channel", "pause_selected"),
    ("events/channel", "resume_selected"),
    ("events/channel", "redrive_selected"),
    ("events/channel", "delete_selected"),
    ("events/delivery", "redrive_selected"),
    ("auth/user", "delete_selected"),
    ("auth/group", "delete_selected"),
    ("workspaces/workspace", "restart_selected"),
    ("workspaces/workspace", "delete_selected"),
]


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_superuser("operator"))
    client.raise_request_exception = False
    return client


def stored():
    """Return all rows that the actions could change."""
    models = (User, Group, Channel, Delivery, Workspace, Launch)
    return {model: list(model.objects.order_by("pk").values()) for model in models}


@pytest.fixture
def rows():
    """One row of each model: a paused and a sending channel, a dead letter, a group and a failed workspace."""
    factories.failed(name="mine")
    channels.channel("log", {"level": "INFO"}, paused_at=database_now())
    log = channels.channel("log", {"level": "INFO"})
    Delivery.objects.create(channel=log, event=Event.objects.latest("pk"), position=1, state=DeliveryState.DEAD)
    Group.objects.create(name="operators")


@pytest.mark.parametrize("key", BAD_IDS)
@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_an_action_on_a_bad_id_changes_nothing(operator, rows, model, action, key):
    before = stored()
    selected = {"action": action, "_selected_action": [key]}
    for form in (selected, {**selected, "post": "yes", "confirmed": "yes"}):
        answer = operator.post(f"/admin/{model}/", form)
        assert answer.status_code in {200, 302, 400}
        assert stored() == before


@pytest.mark.parametrize("key", BAD_IDS)
@pytest.mark.parametrize("model", ["events/channel", "auth/user", "auth/group", "events/delivery"])
def test_a_page_of_a_bad_id_is_missing(operator, model, key):
    for page in ("change", "delete", "history"):
        answer = operator.get(f"/admin/{model}/{quote(key, safe='')}/{page}/")
        assert answer.status_code in {302, 400, 403, 404}, page


@pytest.mark.parametrize("workspace", ["removed", "unknown", "nonsense"])
def test_a_secret_for_a_workspace_that_can_t_have_one_is_an_error_of_the_form(operator, workspace):
    gone = factories.failed(name="gone")
    remove(workspace_id=gone.pk, confirmed=True, now=database_now())
    ids = {"removed": str(gone.pk), "unknown": str(uuid4()), "nonsense": "nonsense"}
    answer = operator.post("/admin/workspaces/secret/add/", {"workspace": ids[workspace], "name": "KEY", "value": "x"})
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors
    assert not Secret.objects.exists()
