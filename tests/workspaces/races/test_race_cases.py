"""Each race in every order of its points, and freely: every legal outcome occurs, and no other."""

import pytest

from tests.workspaces.invariants import assert_invariants
from tests.workspaces.races.interleaving import interleaving, orders
from tests.workspaces.races.race_cases import RACE_CASES

pytestmark = pytest.mark.django_db(transaction=True)
EACH_CASE = pytest.mark.parametrize("case", RACE_CASES, ids=[case.name for case in RACE_CASES])
FREE_RUNS = 1000


def outcome_of(case, backend, run):
    """Run the race once more; return its outcome, which must be a legal one."""
    race = case.prepare(backend)
    result = run(race)
    assert result.outcome in case.outcomes, f"{result.outcome!r} is not a legal outcome; {result.results}"
    race.then(result)
    return result.outcome


@EACH_CASE
def test_each_order_of_the_points_has_a_legal_outcome_and_each_outcome_occurs(case, fake):
    with interleaving() as pair:
        seen = {
            outcome_of(case, fake, lambda race, order=order: pair.run_in_order(race.actions, order))
            for order in orders(case.points)
        }
    assert seen == case.outcomes
    assert_invariants()


@pytest.mark.soak
@EACH_CASE
def test_a_thousand_free_races_have_legal_outcomes_and_each_outcome_occurs(case, fake):
    with interleaving() as pair:
        seen = {outcome_of(case, fake, lambda race: pair.run_freely(race.actions)) for _ in range(FREE_RUNS)}
    assert seen == case.outcomes
    assert_invariants()
