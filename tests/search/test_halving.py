import pytest

from automm.errors import ConfigError
from automm.search.pruning import Halving, rungs_between


def halving(losses, *, rungs=(1, 3, 9), eta=3, finished=(), families=None):
    """Everyone in `losses` at the first rung."""
    out = Halving(rungs, eta)
    for trial, loss in enumerate(losses):
        out.record(trial, 0, loss, finished=trial in finished, family=families[trial] if families else "")
    return out


def climb(h, trial, rung, loss, *, finished=False, family=""):
    h.promote(trial, rung - 1)
    h.record(trial, rung, loss, finished=finished, family=family)


@pytest.mark.parametrize(
    ("low", "high", "eta", "rungs"),
    [(1, 9, 3, (1, 3, 9)), (2, 8, 2, (2, 4, 8)), (2, 12, 3, (2, 6, 12)), (5, 5, 4, (5,)), (3, 4, 3, (3, 4))],
)
def test_rungs(low, high, eta, rungs):
    assert rungs_between(low, high, eta) == rungs


@pytest.mark.parametrize(("low", "high", "eta"), [(0, 4, 2), (5, 4, 2), (1, 4, 1)])
def test_impossible_rungs(low, high, eta):
    with pytest.raises(ConfigError, match="search"):
        rungs_between(low, high, eta)


def test_one_in_eta_is_promoted_and_only_once():
    assert halving([0.5, 0.4]).promotable() is None
    h = halving([0.5, 0.4, 0.6])
    assert h.promotable() == (1, 0)
    h.promote(1, 0)
    assert h.promotable() is None
    for trial, loss in enumerate([0.1, 0.2, 0.9], start=3):
        h.record(trial, 0, loss, finished=False)
    assert h.promotable() == (3, 0)


def test_the_higher_rung_goes_first():
    h = halving([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    for trial in range(3):
        climb(h, trial, 1, 0.1 * trial)
    h.record(9, 0, 0.05, finished=False)
    assert h.promotable() == (0, 1)


def test_a_finished_trial_counts_everywhere_and_takes_no_place():
    h = halving([0.30, 0.5, 0.52, 0.54], finished=[0])
    assert h.promotable() == (1, 0), "the best of those that have a plateau to come out of"
    climb(h, 1, 1, 0.45)
    assert h.best() == 0, "0.30 at rung 1 too"
    climb(h, 1, 2, 0.1)
    assert h.best() == 1


def test_a_failed_trial_keeps_its_place_and_is_never_chosen():
    h = halving([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    h.fail(0)
    assert h.promotable() == (1, 0)
    assert h.best() == 1
    assert 0 not in h.estimates()


def test_the_incumbent_is_compared_at_equal_fidelity():
    h = halving([0.2, 0.3, 0.1], rungs=(1, 2), eta=3)
    climb(h, 1, 1, 0.25)
    assert h.best() == 1, "0.1 after one epoch says nothing about what two epochs give"
    assert halving([0.2, 0.2]).best() == 0, "ties go to the earlier trial"
    assert Halving((1,), 2).best() is None


def test_a_closed_form_does_not_hide_a_better_beginner():
    assert halving([0.4, 0.2], finished=[0]).best() == 1


def test_somebody_reaches_the_top():
    h = halving([0.4, 0.2])
    assert h.promotable() is None
    assert h.closing() == (1, 0)
    climb(h, 1, 1, 0.2)
    assert h.closing() == (1, 1)
    h.promote(1, 1)
    h.fail(1)
    assert h.closing() == (0, 0), "when the first choice fails, the next one climbs"
    climb(h, 0, 1, 0.3)
    climb(h, 0, 2, 0.3)
    assert h.closing() is None


def test_a_closed_form_at_the_top_is_not_enough():
    h = halving([0.1, 0.4], finished=[0])
    assert h.closing() == (1, 0)
    assert halving([0.1], finished=[0]).closing() is None, "nobody can climb"


def test_early_stopping_on_the_way_reaches_the_top():
    h = halving([0.4, 0.2])
    climb(h, 1, 1, 0.15, finished=True)
    assert h.closing() is None
    assert h.best() == 1


def test_a_pruned_loss_is_extrapolated():
    h = halving([0.5, 0.6, 0.7, 0.4], finished=[3])
    assert h.estimates() == {0: 0.5, 1: 0.6, 2: 0.7, 3: 0.4}, "nothing is known of gains yet"
    climb(h, 0, 1, 0.3)
    climb(h, 1, 1, 0.5)
    climb(h, 0, 2, 0.2)
    found = h.estimates()
    assert found[2] == pytest.approx(0.7 - 0.15 - 0.1), "median gains of those that made each step"
    assert found[1] == pytest.approx(0.5 - 0.1)
    assert (found[0], found[3]) == (0.2, 0.4), "measured at the top, or finished: as they are"


def test_every_second_place_is_a_pioneers_and_its_family_is_judged_by_it():
    h = halving([0.5, 0.51, 0.7, 0.72], rungs=(1, 2), eta=2, families="aabb")
    assert h.promotable() == (0, 0)
    climb(h, 0, 1, 0.48, family="a")
    assert h.estimates()[2] == pytest.approx(0.7 - 0.02), "nobody of b was tried: what the best family gains"
    assert h.promotable() == (2, 0), "the best of a family that nobody has seen beyond its plateau"
    climb(h, 2, 1, 0.1, family="b")
    assert h.estimates()[1] == pytest.approx(0.51 - 0.02), "a is judged by what a gains"
    assert h.estimates()[3] == pytest.approx(0.72 - 0.6), "and b by what b gains"
    assert h.promotable() is None, "3 belongs to the top half now, whose two places are taken"
    for trial in (4, 5):
        h.record(trial, 0, 0.9, finished=False, family="a")
    assert h.promotable() == (3, 0)


def test_a_rung_whose_places_are_taken_sends_on_its_leader_alone():
    h = halving([0.5, 0.6, 0.7], rungs=(1, 2), eta=3)
    climb(h, 0, 1, 0.4)
    h.record(3, 0, 0.55, finished=False)
    h.record(4, 0, 0.45, finished=False)
    assert h.promotable() == (4, 0), "nobody of the rung is ahead of it"
    climb(h, 4, 1, 0.35)
    h.record(5, 0, 0.46, finished=False)
    assert h.promotable() is None, "second of six, and two went already"


def test_pioneers_take_places_and_make_none():
    h = halving([0.1, 0.2, 0.3, 0.4], rungs=(1, 2), eta=4, families="abcd")
    climb(h, 0, 1, 0.1, family="a")
    assert h.promotable() is None


def test_one_family_sends_no_pioneer():
    assert halving([0.5, 0.7], eta=3, families="aa").promotable() is None


def test_the_family_that_looks_worst_sends_its_pioneer_first():
    h = halving([0.1, 0.6, 0.4, 0.9, 0.8, 0.7], rungs=(1, 2), eta=3, families="abcbcc")
    climb(h, 0, 1, 0.1, family="a")
    assert h.promotable() == (1, 0)
