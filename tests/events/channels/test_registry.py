"""The list of kinds: every kind has a folder, a form, a sender and a page."""

from pathlib import Path

import pytest
from django.conf import settings

import events.channels
from events.channels.registry import KINDS, UnknownKind, kind_of

PAGES = settings.BASE_DIR / "docs" / "reference" / "channels"


# A new kind's name comes at the end.
STORED_NAMES = ["webhook", "chat", "email", "redis_stream", "log"]


def test_the_names_in_stored_channels_and_their_order_stay():
    assert list(KINDS) == STORED_NAMES


def test_every_folder_with_a_kind_is_in_the_registry():
    folder = Path(events.channels.__path__[0])
    assert {path.parent.name for path in folder.glob("*/kind.py")} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_has_a_page_that_names_each_option(kind):
    page = (PAGES / f"{kind.name}.md").read_text()
    missing = [name for name in kind.form.option_names() if f"`{name}`" not in page]
    assert not missing, f"Explain these options in docs/reference/channels/{kind.name}.md."
    link = f"[{kind.name}]({kind.name}.md)"
    is_linked = link in (PAGES / "README.md").read_text()
    assert is_linked, f"Link {link} in docs/reference/channels/README.md."


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_encrypts_options_of_its_form(kind):
    assert set(kind.form.encrypted) <= set(kind.form.option_names())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_with_several_encrypted_options_names_the_one_that_they_belong_to(kind):
    form = kind.form
    assert form.address in form.encrypted or len(form.encrypted) < 2


def test_an_unknown_kind_is_named():
    with pytest.raises(UnknownKind, match="'pigeon'"):
        kind_of("pigeon")
