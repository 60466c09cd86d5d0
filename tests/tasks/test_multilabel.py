import numpy as np
import pytest
import torch
from rows import table

from automm.errors import DataError, OutOfRange
from automm.tasks.multilabel import MultiLabel
from automm.types import Goal


def fitted(targets, **options):
    task = MultiLabel(**options)
    task.fit(table(targets))
    return task


def test_a_target_is_a_list_or_a_text_that_lists():
    assert fitted([["b", "a"], [], ["c"]]).labels == ("a", "b", "c")
    assert fitted(["b, a", "", "c"]).labels == ("a", "b", "c")
    assert fitted(["b;a", "c,d"], separator=";").labels == ("a", "b", "c,d")
    assert fitted([[10, 9], 2]).labels == ("2", "9", "10")


def test_metrics():
    task = fitted([["a", "b"], ["c"]])
    rows = table([["a"], ["a", "b"], [], ["c", "zebra"]], kind=["x", "x", "y", "y"])
    scores_BC = np.array([[0.9, 0.1, 0.1], [0.8, 0.2, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 0.6]], np.float32)
    values = task.metrics(scores_BC, rows)
    assert task.goal == Goal("f1", "maximize")
    # three of five wanted pairs are answered, and nothing that is not wanted; a label never learnt is missed
    assert values["f1"] == pytest.approx(2 * 3 / (5 + 3))
    assert values["f1/x"] == pytest.approx(2 * 2 / (3 + 2))
    assert values["f1/y"] == pytest.approx(2 * 1 / (2 + 1))
    assert values["f1_macro"] == pytest.approx((1 + 0 + 1) / 3)
    assert values["map"] == pytest.approx(1.0)
    assert values["subset_accuracy"] == 0.5
    per_pair = np.where(task.perfect(rows) > 0, -np.log(scores_BC), -np.log1p(-scores_BC))
    assert values["loss"] == pytest.approx(per_pair.sum(1).mean(), rel=1e-5)


def test_answers_are_the_labels_of_half_or_more():
    task = fitted([["a", "b"], ["c"]])
    assert task.decode(np.array([0.5, 0.2, 0.9])) == ["c", "a"]
    assert task.decode(np.array([0.4, 0.2, 0.1])) == []


def test_smoothing_moves_every_label_towards_the_middle():
    task = fitted([["a"], ["b"]])
    targets = {name: torch.from_numpy(a) for name, a in task.targets(table([["a"]])).items()}
    sure = torch.tensor([[20.0, -20.0]])
    assert task.loss(sure, targets, label_smoothing=0.0).item() == pytest.approx(0, abs=1e-6)
    assert task.loss(sure, targets, label_smoothing=0.1).item() == pytest.approx(2 * 0.05 * 20, rel=1e-4)


def test_an_answer_is_right_in_any_order():
    task = fitted([["a", "b"], ["c"]])
    assert task.right(["b", "a"], "a, b")
    assert not task.right(["a"], ["a", "b"])


def test_a_separator_is_something():
    with pytest.raises(OutOfRange, match=r"task\.separator is empty"):
        MultiLabel(separator="")


def test_targets_that_cannot_be_learnt():
    with pytest.raises(DataError, match="no training row has a label"):
        fitted([[], ""])
    with pytest.raises(DataError, match="has no target"):
        fitted([["a"], None])


def test_targets_that_do_not_differ_are_refused():
    with pytest.raises(DataError, match="do not differ: all are a, b"):
        fitted([["a", "b"], ["b", "a"]])
    assert fitted([["a", "b"], ["a"]]).labels == ("a", "b")
