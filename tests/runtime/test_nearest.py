import numpy as np
import pytest

from automm.errors import DataError
from automm.runtime import nearest as module
from automm.runtime.nearest import blocks, nearest, unit


def test_the_best_by_cosine_come_first_and_equals_by_number():
    candidates = np.array([[0.0, 3.0], [2.0, 0.0], [1.0, 1.0], [5.0, 0.0]], np.float32)
    found = nearest(np.array([[1.0, 0.0], [0.0, -1.0]], np.float32), candidates, 3)
    assert found.index_QK.tolist() == [[1, 3, 2], [1, 3, 2]]
    np.testing.assert_allclose(found.score_QK, [[1, 1, 0.5**0.5], [0, 0, -(0.5**0.5)]], atol=1e-6)


def test_no_more_than_there_are():
    assert nearest(np.ones((2, 3)), np.ones((1, 3)), 5).index_QK.tolist() == [[0], [0]]
    assert nearest(np.ones((2, 3)), np.ones((0, 3)), 5).score_QK.shape == (2, 0)
    assert nearest(np.ones((0, 3)), np.ones((4, 3)), 2).index_QK.shape == (0, 2)


def test_blocks_are_as_small_as_asked_and_change_nothing(monkeypatch):
    random = np.random.default_rng(0)
    x, y = unit(random.normal(size=(7, 4))), unit(random.normal(size=(5, 4)))
    pieces = list(blocks(x, y, block_bytes=2 * 4 * 5))
    assert [piece.shape for _, piece in pieces] == [(2, 5), (2, 5), (2, 5), (1, 5)]
    whole = nearest(x, y, 2)
    monkeypatch.setattr(module, "blocks", lambda one, other: blocks(one, other, block_bytes=1))
    assert nearest(x, y, 2).index_QK.tolist() == whole.index_QK.tolist()


def test_zeros_are_like_nothing():
    assert unit(np.zeros((1, 3))).tolist() == [[0, 0, 0]]
    assert nearest(np.ones((1, 3)), np.zeros((1, 3)), 1).score_QK.tolist() == [[0.0]]


def test_a_bundle_of_labels_does_not_rank(predictor):
    with pytest.raises(
        DataError, match=r"rank needs a bundle of \+task=retrieval \(this one answers by 'argmax label'"
    ):
        predictor.rank([{"question": "red"}], [{"question": "blue"}])
