"""Pairs that meet: in every order of their points, and freely; each legal story is seen, and no other."""

import pytest

from tests.workspaces.invariants import assert_sound
from tests.workspaces.races.race_cases import PAIRS
from tests.workspaces.races.racing import meeting, orders

pytestmark = pytest.mark.django_db(transaction=True)
EACH_PAIR = pytest.mark.parametrize("pair", PAIRS, ids=[pair.name for pair in PAIRS])
FREE_RUNS = 1000


def story_of(pair, backend, meet):
    """Let the pair meet once more; return its story, which has to be a legal one."""
    scene = pair.prepare(backend)
    met = meet(scene)
    assert met.story in pair.stories, f"{met.story!r} is none of the legal stories; {met.results}"
    scene.then(met)
    return met.story


@EACH_PAIR
def test_each_order_of_their_points_ends_as_it_may_and_each_story_is_seen(pair, fake):
    with meeting() as both:
        seen = {
            story_of(pair, fake, lambda scene, order=order: both.forced(scene.actions, order))
            for order in orders(pair.points)
        }
    assert seen == pair.stories
    assert_sound()


@pytest.mark.soak
@EACH_PAIR
def test_a_thousand_free_meetings_end_as_they_may_and_each_story_is_seen(pair, fake):
    with meeting() as both:
        seen = {story_of(pair, fake, lambda scene: both.free(scene.actions)) for _ in range(FREE_RUNS)}
    assert seen == pair.stories
    assert_sound()
