from django.conf import settings

from workspaces.lifecycle.diagram import lifecycle_page
from workspaces.lifecycle.transitions import TRANSITIONS


def test_the_page_in_docs_is_printed_from_the_table():
    assert (settings.BASE_DIR / "docs" / "lifecycle.md").read_text() == lifecycle_page()


def test_the_page_names_every_verb_and_event():
    page = lifecycle_page()
    assert all(f"| {row.verb} |" in page and row.event.value in page for row in TRANSITIONS)
