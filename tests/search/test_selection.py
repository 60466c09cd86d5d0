import math

import numpy as np
import pytest

from automm.search.selection import STEPS, greedy, lead
from automm.trial import Trial

WANTED_B = np.tile([0, 1], 50)


def wrong(scores_BC):
    return float((scores_BC.argmax(1) != WANTED_B).mean())


def log_loss(scores_BC):
    return float(-np.log(scores_BC[np.arange(100), WANTED_B]).mean())


def right_on(rows, *, sure=0.9, wrong=0.6):
    """Scores of a model that is right and sure of it on some rows, and wrong and less sure on the others."""
    own_B = np.where(np.isin(np.arange(100), rows), sure, 1 - wrong)
    scores_BC = np.stack([1 - own_B, own_B], axis=1).astype(np.float32)
    return np.take_along_axis(scores_BC, np.stack([1 - WANTED_B, WANTED_B], axis=1), axis=1)


def test_models_that_err_apart_are_better_together():
    scores = {7: right_on(range(60)), 3: right_on(range(40, 100)), 5: right_on(range(10))}
    weights, loss = greedy(scores, wrong, most=3)
    assert weights == {7: 0.5, 3: 0.5}
    assert loss == 0.0


def test_one_that_nobody_betters_stays_alone():
    scores = {1: right_on(range(100)), 2: right_on(range(99))}
    assert greedy(scores, wrong, most=5) == ({1: 1.0}, 0.0)
    assert greedy(dict(reversed(scores.items())), wrong, most=5) == ({1: 1.0}, 0.0)


def test_of_two_as_good_the_first_is_taken():
    same = right_on(range(90))
    assert greedy({4: same, 2: same}, wrong, most=2)[0] == {4: 1.0}


def test_members_fit_together():
    random = np.random.default_rng(0)
    scores = {n: right_on(random.permutation(100)[:70], sure=0.7, wrong=0.7) for n in range(8)}
    weights, _ = greedy(scores, log_loss, most=8, fits=lambda members: sum(members) <= 9)
    assert sum(weights) <= 9 < sum(greedy(scores, log_loss, most=8)[0])
    assert len(weights) > 1
    assert len(greedy(scores, log_loss, most=8, fits=lambda _: False)[0]) == 1


def test_no_more_members_than_asked_for_and_weights_as_often_as_drawn():
    random = np.random.default_rng(0)
    scores = {n: right_on(random.permutation(100)[:70], sure=0.7, wrong=0.7) for n in range(8)}
    losses = []
    for most in (1, 2, 3, 8):
        weights, loss = greedy(scores, log_loss, most=most)
        assert len(weights) <= most
        assert sum(weights.values()) == pytest.approx(1)
        assert all(any(np.isclose(w * s, round(w * s)) for s in range(1, STEPS + 1)) for w in weights.values())
        assert loss == pytest.approx(log_loss(sum(w * scores[n] for n, w in weights.items())))
        losses.append(loss)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize(
    ("best", "rows", "errors"),
    [(0.776, 402, 0.72), (0.776, 40_200, 7.21), (0.761, 402, 0.0), (1.0, 402, math.inf)],
)
def test_a_lead_is_counted_in_standard_errors(best, rows, errors):
    first, second = (Trial(number, {}, "", values={"accuracy": value}) for number, value in ((0, 0.761), (1, best)))
    assert lead(second.values, first.values, rows) == pytest.approx(errors, abs=0.01)
