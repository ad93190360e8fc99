import pytest
from django.conf import settings

from workspaces.lifecycle.transitions import WorkspaceStatus
from workspaces.status_colours import TERMINAL_COLOURS, Colour, colour_of

STYLESHEET = settings.BASE_DIR / "workspaces/static/workspaces/admin.css"


@pytest.mark.parametrize("status", WorkspaceStatus)
def test_every_status_has_a_colour(status):
    assert colour_of(status) in Colour


def test_a_status_of_newer_code_is_grey():
    assert colour_of("quarantined") == Colour.GREY


@pytest.mark.parametrize("colour", Colour)
def test_every_colour_is_in_the_stylesheet_for_both_themes_and_in_the_terminal(colour):
    lines = STYLESHEET.read_text().splitlines()
    assert any(line.startswith(f".slipway-tone-{colour} {{") for line in lines)
    assert any(line.startswith(f".dark .slipway-tone-{colour} {{") for line in lines)
    assert colour in TERMINAL_COLOURS


def test_the_stylesheet_names_no_status():
    assert not [status for status in WorkspaceStatus if f"slipway-status-{status}" in STYLESHEET.read_text()]
