"""Every event name has its schema, its words for people and its row in the docs."""

import re
from datetime import UTC, datetime
from io import StringIO
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from events import outbox
from events.catalogue import CATALOGUE, FAILURE_CODES, FAILURE_OWNERS, FAILURE_SOURCES, PHASES
from events.channels.base import Message
from events.channels.notification import notification_of
from events.envelope import LoggedEvent
from events.models import Event
from events.names import EphemeralEventType, EventType
from tests.events.payload_schemas import misfits, validator
from workspaces.lifecycle.transitions import TRANSITIONS, FailureCode, FailureOwner, FailureSource, Phase

NAMES = [*EventType, *EphemeralEventType]
LIVE_JS = settings.BASE_DIR / "workspaces/static/workspaces/live.js"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_a_closed_schema_with_required_fields(name):
    schema = validator(name).schema
    assert schema["required"]
    assert schema["additionalProperties"] is False
    assert misfits(name.value, {}) != []


@pytest.mark.parametrize("name", EventType)
def test_a_name_is_put_into_words_for_people(name):
    event = LoggedEvent(
        position=1,
        event_type=name.value,
        workspace_id=uuid4(),
        version=1,
        payload={"kind": "a kind"},
        created_at=datetime.now(UTC),
        subject={"name": "a workspace"},
    )
    title = notification_of([Message(id="1", event=event)]).title
    assert name.value not in title
    assert len(title.split()) >= 2


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_its_row_in_the_docs(name):
    page = (settings.BASE_DIR / "docs/reference/events.md").read_text()
    assert page.count(f"| `{name.value}` | {CATALOGUE[name].when} |") == 1


def test_the_page_makes_exceptions_only_for_names_that_exist():
    table = re.search(r"const HANDLERS = \{(.*?)\n    \};", LIVE_JS.read_text(), re.DOTALL)
    handled = dict(re.findall(r"^\s+([A-Z_]+): (\w+),", table[1], re.MULTILINE))
    assert handled
    assert set(handled) <= {name.value for name in NAMES}
    assert "refreshSoon" not in handled.values()


@pytest.mark.parametrize(
    ("listed", "enum"),
    [
        (FAILURE_CODES, FailureCode),
        (FAILURE_SOURCES, FailureSource),
        (FAILURE_OWNERS, FailureOwner),
        (PHASES, Phase),
    ],
)
def test_the_catalogue_lists_the_lifecycle_s_values(listed, enum):
    assert set(listed) == set(enum.values) - {""}


def test_every_name_is_sent_by_a_transition_or_a_service():
    folders = [settings.BASE_DIR / folder for folder in ("workspaces/services", "registry")]
    code = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    sent = {row.event for row in TRANSITIONS} | {name for name in NAMES if f"EventType.{name.name}" in code}
    assert set(NAMES) == sent


def test_the_pages_are_current_and_a_stale_one_fails_the_check(settings, tmp_path):
    call_command("event_catalogue", check=True, stdout=StringIO())
    settings.BASE_DIR = tmp_path
    with pytest.raises(CommandError, match=r"events\.md and .*asyncapi\.yaml"):
        call_command("event_catalogue", check=True, stdout=StringIO())
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_payload_is_reported_by_its_field():
    assert misfits("WORKSPACE_PAUSED", {"name": 5, "version": 1}) == [
        "WORKSPACE_PAUSED: $.name: 5 is not of type 'string'"
    ]
    assert misfits("WORKSPACE_PROVISION_FAILED", {"error": "", "code": "bored"}) != []


def test_a_field_that_the_catalogue_lacks_is_reported():
    assert misfits("WORKSPACE_PAUSED", {"name": "echo", "version": 1, "mood": "calm"}) == [
        "WORKSPACE_PAUSED: $: Additional properties are not allowed ('mood' was unexpected)"
    ]


@pytest.mark.django_db
def test_the_outbox_completes_a_payload_with_the_version():
    event = outbox.NewEvent(
        event_type=EventType.WORKSPACE_PAUSED, workspace_id=uuid4(), version=3, payload={"name": "a workspace"}
    )
    outbox.record([event])
    row = Event.objects.get()
    assert misfits(row.event_type, row.payload) == []
