"""Right and wrong by row, and the interval of a difference."""

import numpy as np
import pytest
from figures import interval, mean, right

NAMES = np.array([f"emoji {at}" for at in range(60)])
MIXED = np.tile([1.0, 0.0, -1.0, 1.0], 15)


def test_the_same_answers_leave_no_interval():
    assert interval(np.zeros(60), NAMES) == (0.0, 0.0)


def test_all_right_against_all_wrong_leaves_none_either():
    assert interval(np.ones(60), NAMES) == (1.0, 1.0)


def test_it_is_that_of_the_normal_distribution():
    low, high = interval(MIXED, NAMES)
    half = 1.96 * MIXED.std() / np.sqrt(len(MIXED))
    assert low == pytest.approx(MIXED.mean() - half, abs=0.02)
    assert high == pytest.approx(MIXED.mean() + half, abs=0.02)


def test_drawings_of_one_emoji_are_kept_together():
    """Twice the same rows tell nothing new: the interval is as wide as that of half of them, and not narrower."""
    twice, names = np.repeat(MIXED, 2), np.repeat(NAMES, 2)
    assert interval(twice, names) == interval(MIXED, NAMES)
    low, high = interval(twice, np.arange(120))
    assert high - low < 0.8 * np.subtract(*interval(MIXED, NAMES)[::-1])


def test_it_is_the_same_every_time():
    assert interval(MIXED, NAMES, seed=3) == interval(MIXED, NAMES, seed=3) != interval(MIXED, NAMES, seed=4)


def test_answers_are_matched_row_by_row(compared):
    data = compared / "set"
    answers = {"same_vendors": ["face", "flag", "flag", "flag"], "other_vendors": ["face", "face"]}
    found = right(data, answers)
    assert {test: list(values) for test, values in found.items()} == {
        "same_vendors": [1, 0, 1, 1],
        "other_vendors": [1, 0],
    }
    with pytest.raises(ValueError, match="longer"):
        right(data, {**answers, "other_vendors": ["face"]})


def test_a_mean_has_its_standard_deviation_over_seeds():
    assert mean([np.array([1.0, 0.0])]) == "0.500"
    assert mean([np.array([1.0, 0.0]), np.array([1.0, 1.0]), np.array([0.0, 0.0])]) == "0.500 ± 0.500"
