import numpy as np
import pytest
import torch
from rows import table
from torch.nn import functional as F

from automm.tasks.classification import Classification
from automm.tasks.multilabel import MultiLabel
from automm.tasks.regression import Regression
from automm.tasks.vqa import VQA
from automm.tasks.weighing import Weighing, balanced

PLAIN = {"label_smoothing": 0.0}


def fitted(task, targets, rows=None):
    """A task, the tensors of some rows and logits for them."""
    task.fit(table(targets))
    tensors = {n: torch.from_numpy(a) for n, a in task.targets(table(rows or targets)).items()}
    logits_BC = torch.randn(len(rows or targets), len(task.labels), generator=torch.Generator().manual_seed(0))
    return task, tensors, logits_BC


def test_balanced_weights_let_every_class_count_the_same():
    count_C = np.array([60, 30, 10])
    weight_C = balanced(count_C / 100)
    np.testing.assert_allclose(weight_C * count_C, np.full(3, 100 / 3), rtol=1e-6)
    assert weight_C.dtype == np.float32


def test_class_weights_are_factors_on_the_rows_of_a_class():
    task, targets, logits_BC = fitted(Classification(), ["a", "b", "b", "c"], ["a", "b", "c", "zebra"])
    weight_C = torch.tensor([2.0, 0.5, 3.0])
    own_B = F.cross_entropy(logits_BC[:3], targets["label"][:3], reduction="none")
    expected = (own_B * weight_C).sum() / 3  # a class that training never saw counts for nothing
    torch.testing.assert_close(task.weighed_loss(logits_BC, targets, **PLAIN, weighing=Weighing(weight_C)), expected)


def test_the_focal_factor_is_a_power_of_what_is_not_known():
    task, targets, logits_BC = fitted(Classification(), ["a", "b", "c"])
    p_B = logits_BC.softmax(1)[range(3), targets["label"]]
    expected = (-((1 - p_B) ** 2) * p_B.log()).mean()
    torch.testing.assert_close(task.weighed_loss(logits_BC, targets, **PLAIN, weighing=Weighing(None, 2.0)), expected)


def test_several_labels_are_weighed_one_by_one():
    task, targets, logits_BC = fitted(MultiLabel(), [["a", "b"], ["c"], []])
    wanted_BC, p_BC = targets["labels"], torch.sigmoid(logits_BC)
    weight_C = torch.tensor([2.0, 0.5, 3.0])
    p_t = torch.where(wanted_BC > 0, p_BC, 1 - p_BC)
    weight_BC = torch.where(wanted_BC > 0, weight_C, torch.ones(()))
    expected = (-weight_BC * (1 - p_t) ** 2 * p_t.log()).sum() / 3
    found = task.weighed_loss(logits_BC, targets, **PLAIN, weighing=Weighing(weight_C, 2.0))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_answers_of_several_people_weigh_as_much_as_they_are_wanted(smoothing):
    people = [["yes"] * 10, ["no"] * 2 + ["perhaps"] * 8, ["no"] * 10]
    task, targets, logits_BC = fitted(VQA(), people)
    plain = task.loss(logits_BC, targets, label_smoothing=smoothing)
    same = task.weighed_loss(logits_BC, targets, label_smoothing=smoothing, weighing=Weighing())
    torch.testing.assert_close(same, plain)
    wanted_BC = torch.from_numpy(task.perfect(table(people)))
    weight_C = torch.tensor([3.0, 1.0, 1.0])
    terms_BC = F.binary_cross_entropy_with_logits(logits_BC, wanted_BC, reduction="none")
    expected = (terms_BC.sum() + 2 * (terms_BC * wanted_BC)[:, 0].sum()) / 3
    torch.testing.assert_close(task.weighed_loss(logits_BC, targets, **PLAIN, weighing=Weighing(weight_C)), expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_what_is_known_for_sure_has_a_focal_gradient_too(gamma):
    task, targets, _ = fitted(Classification(), ["a", "b"])
    logits_BC = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    task.weighed_loss(logits_BC, targets, **PLAIN, weighing=Weighing(None, gamma)).backward()
    assert torch.isfinite(logits_BC.grad).all()


def test_numbers_have_no_classes_to_weigh():
    assert not Regression().weighs
    assert Classification().weighs
