"""How far apart two texts are."""

import pytest

from status_drift.enum_terms import MAX_EDITS, edit_distance


@pytest.mark.parametrize(
    ("left", "right", "edits"),
    [("online", "online", 0), ("onlin", "online", 1), ("onilne", "online", 1), ("olnie", "online", 2), ("x", "on", 2)],
)
def test_the_distance_of_two_texts_counts_edits_and_swaps(left, right, edits):
    assert edit_distance(left, right) == edits
    assert edit_distance(right, left) == edits


def test_texts_of_very_different_length_are_further_apart_than_any_misspelling():
    assert edit_distance("on", "offline") == MAX_EDITS + 1
