import numpy as np
import pytest

from automm.metrics.classes import UNSEEN
from automm.training.calibration import at_temperature_one, expected_error, reliability, temperature


def softmax(logits_BC):
    p_BC = np.exp(logits_BC - logits_BC.max(axis=1, keepdims=True))
    return p_BC / p_BC.sum(axis=1, keepdims=True)


def drawn(rows, classes=5, seed=0):
    """Logits, and labels drawn by the softmax of them."""
    rng = np.random.default_rng(seed)
    logits_BC = rng.normal(0, 2, (rows, classes))
    label_B = (softmax(logits_BC).cumsum(axis=1) < rng.uniform(size=(rows, 1))).sum(axis=1).clip(max=classes - 1)
    return logits_BC, label_B


@pytest.mark.parametrize("known", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_found_again(known):
    logits_BC, label_B = drawn(8000)
    assert temperature((known * logits_BC).astype(np.float32), label_B) == pytest.approx(known, rel=0.05)


def test_it_is_where_the_likelihood_is_greatest():
    logits_BC, label_B = drawn(300)

    def loss(found):  # with the prior, which is part of it
        p_B = softmax(logits_BC / found)[np.arange(300), label_B]
        return -np.log(p_B).sum() + (1 / found - 1) ** 2 / 2

    found = temperature(logits_BC, label_B)
    assert loss(found) < min(loss(found * 1.001), loss(found / 1.001))


def test_a_few_right_answers_do_not_make_certainty():
    logits_BC = np.tile([5.0, 0.0, 0.0], (20, 1))
    assert 0.5 < temperature(logits_BC, np.zeros(20, int)) < 1


def test_answers_that_are_noise_get_the_highest_temperature():
    logits_BC, _ = drawn(5000)
    label_B = np.random.default_rng(1).integers(0, 5, 5000)
    assert temperature(100 * logits_BC, label_B) == pytest.approx(20, rel=1e-3)


def test_rows_that_say_nothing_are_left_out():
    logits_BC, label_B = drawn(400)
    spoilt_BC, unseen_B = logits_BC.copy(), label_B.copy()
    spoilt_BC[::4], unseen_B[1::4] = np.nan, UNSEEN
    kept = np.arange(400) % 4 > 1
    assert temperature(spoilt_BC, unseen_B) == pytest.approx(temperature(logits_BC[kept], label_B[kept]))
    assert temperature(logits_BC, np.full(400, UNSEEN)) == 1


def test_scores_know_what_they_were_before():
    logits_BC, _ = drawn(50)
    np.testing.assert_allclose(at_temperature_one(softmax(logits_BC / 2.5), 2.5), softmax(logits_BC), atol=1e-12)
    certain_BC = np.array([[1.0, 0.0]], np.float32)
    np.testing.assert_array_equal(at_temperature_one(certain_BC, 3.0), certain_BC)


def test_the_error_is_the_distance_between_scores_and_shares():
    scores_BC = np.array([[0.92, 0.08], [0.1, 0.9], [0.91, 0.09], [0.55, 0.45]])
    bins = reliability(scores_BC, np.array([0, 1, 1, UNSEEN]))
    assert [each.rows for each in bins] == [1, 3]
    assert [each.right for each in bins] == pytest.approx([0, 2 / 3])
    assert [each.score for each in bins] == pytest.approx([0.55, 0.91])
    assert expected_error(bins) == pytest.approx((0.55 + 3 * (0.91 - 2 / 3)) / 4)
    assert sum(each.rows for each in reliability(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))) == 2


def test_calibration_makes_the_error_small():
    logits_BC, label_B = drawn(8000)
    loud_BC = 3 * logits_BC
    before = expected_error(reliability(softmax(loud_BC), label_B))
    after = expected_error(reliability(softmax(loud_BC / temperature(loud_BC, label_B)), label_B))
    assert after < 0.02 < 0.1 < before
