"""The metrics of the field that torchmetrics computes, by their usual names; only this file knows it.

Averages over classes are over those that occur among the targets, so that a fold without a class is judged by the
others; a class that training never saw occurs, and is never found. What the rows at hand leave undefined is 0, which is
what knowing nothing gets.

Shape legend: B rows, C outputs, K classes that occur.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional import classification, regression

from automm.metrics.metric import metric
from automm.runtime.decode import HALF

Score = Callable[..., Tensor]
_SMALLEST = np.finfo(np.float32).tiny  # by which any score can be divided


class _Found(NamedTuple):
    """One measure of what was found, for each kind of targets."""

    two: Score
    classes: Score
    labels: Score


_F1 = _Found(classification.binary_f1_score, classification.multiclass_f1_score, classification.multilabel_f1_score)
_PRECISION = _Found(
    classification.binary_precision, classification.multiclass_precision, classification.multilabel_precision
)
_RECALL = _Found(classification.binary_recall, classification.multiclass_recall, classification.multilabel_recall)

_JACCARD = _Found(
    classification.binary_jaccard_index,
    classification.multiclass_jaccard_index,
    classification.multilabel_jaccard_index,
)
_SPECIFICITY = _Found(
    classification.binary_specificity, classification.multiclass_specificity, classification.multilabel_specificity
)


@metric(higher_is_better=True, reads=("classes",))
def balanced_accuracy(scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    """The share of a class's rows that are answered rightly, averaged over classes."""
    return _macro(_RECALL.classes, scores_BC, label_B)


@metric(higher_is_better=True, reads=("classes", "labels"))
def f1(scores_BC: np.ndarray, targets: np.ndarray) -> float:
    """The harmonic mean of precision and recall, of the classes or labels that those are of."""
    return _found(_F1, scores_BC, targets)


@metric(higher_is_better=True, reads=("classes", "labels"))
def f1_macro(scores_BC: np.ndarray, targets: np.ndarray) -> float:
    """F1 of each class or label, averaged."""
    if targets.ndim == 1:
        return _macro(_F1.classes, scores_BC, targets)
    occurs_C = targets.any(0)
    each_C = _of_labels(_F1.labels, scores_BC, targets, None).numpy()
    return float(each_C[occurs_C].mean()) if occurs_C.any() else 0.0


@metric(higher_is_better=True, reads=("labels",))
def f1_micro(scores_BC: np.ndarray, wanted_BC: np.ndarray) -> float:
    """F1 over all pairs of row and label."""
    return _found(_F1, scores_BC, wanted_BC)


@metric(higher_is_better=True, reads=("classes", "labels"))
def precision(scores_BC: np.ndarray, targets: np.ndarray) -> float:
    """The share of what was answered that is right.

    Of two classes it is the second's in reading order (`yes` beside `no`, 1 beside 0); of more, the average of theirs;
    of labels, that over all pairs of row and label.
    """
    return _found(_PRECISION, scores_BC, targets)


@metric(higher_is_better=True, reads=("classes", "labels"))
def recall(scores_BC: np.ndarray, targets: np.ndarray) -> float:
    """The share of what is right that was answered, of the classes or labels that precision is of."""
    return _found(_RECALL, scores_BC, targets)


@metric(higher_is_better=True, reads=("classes", "labels"))
def specificity(scores_BC: np.ndarray, targets: np.ndarray) -> float:
    """The share of what is no part of it that was not answered, of the classes or labels that precision is of."""
    return _found(_SPECIFICITY, scores_BC, targets)


@metric(higher_is_better=True, reads=("classes", "labels"))
def jaccard(scores_BC: np.ndarray, targets: np.ndarray) -> float:
    """Intersection over union of what was answered and what is right, of the classes or labels that precision is of."""
    return _found(_JACCARD, scores_BC, targets)


@metric(higher_is_better=True, reads=("classes",))
def cohen_kappa(scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    """The agreement of answers and targets beyond chance: 1 is perfect, 0 is chance."""
    return _agreement(classification.multiclass_cohen_kappa, scores_BC, label_B)


@metric(higher_is_better=True, reads=("classes",))
def matthews_corrcoef(scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    """The correlation of answers and targets, from -1 to 1."""
    return _agreement(classification.multiclass_matthews_corrcoef, scores_BC, label_B)


@metric(higher_is_better=False, reads=("labels",), per_row=True)
def hamming(scores_BC: np.ndarray, wanted_BC: np.ndarray) -> float:
    """The share of all pairs of row and label that are answered wrongly."""
    return float(_of_labels(classification.multilabel_hamming_distance, scores_BC, wanted_BC, "micro"))


@metric(higher_is_better=False, reads=("numbers",), per_row=True)
def mae(scores_BC: np.ndarray, value_B: np.ndarray) -> float:
    """The mean absolute error, in the targets' unit."""
    return float(regression.mean_absolute_error(*_numbers(scores_BC, value_B)))


@metric(higher_is_better=False, reads=("numbers",), per_row=True)
def mse(scores_BC: np.ndarray, value_B: np.ndarray) -> float:
    """The mean squared error, in the square of the targets' unit."""
    return float(regression.mean_squared_error(*_numbers(scores_BC, value_B)))


@metric(higher_is_better=False, reads=("numbers",), per_row=True)
def rmse(scores_BC: np.ndarray, value_B: np.ndarray) -> float:
    """The root of the mean squared error, in the targets' unit."""
    return float(regression.mean_squared_error(*_numbers(scores_BC, value_B), squared=False))


@metric(higher_is_better=False, reads=("numbers",), per_row=True)
def mape(scores_BC: np.ndarray, value_B: np.ndarray) -> float:
    """The mean absolute error as a share of the target, 0.1 = ten percent; targets near zero make it huge.

    Of a target of 0, which has no shares, the error is divided by 1.17e-6.
    """
    size_B = np.abs(value_B)
    # each row in units of its own target, because torchmetrics takes targets below 1.17e-6 for that
    unit_B = np.where(size_B >= _SMALLEST, size_B, 1.0)
    pair = _numbers(scores_BC / unit_B[:, None], value_B / unit_B)
    return float(regression.mean_absolute_percentage_error(*pair))


@metric(higher_is_better=True, reads=("numbers",))
def r2(scores_BC: np.ndarray, value_B: np.ndarray) -> float:
    """The share of the targets' variance that is explained: 1 is perfect, 0 is their mean."""
    if not _varies(value_B):
        return 0.0
    mean, deviation = value_B.mean(), value_B.std()
    # in deviations, because torchmetrics takes sums of squares below 1e-4 for 0
    score_B = (scores_BC[:, 0] - mean) / deviation
    return float(regression.r2_score(_tensor(score_B), _tensor((value_B - mean) / deviation)))


@metric(higher_is_better=True, reads=("numbers",))
def pearson(scores_BC: np.ndarray, value_B: np.ndarray) -> float:
    """The linear correlation of predictions and targets, from -1 to 1."""
    return _correlation(scores_BC[:, 0].astype(np.float64), value_B)


@metric(higher_is_better=True, reads=("numbers",))
def spearman(scores_BC: np.ndarray, value_B: np.ndarray) -> float:
    """The correlation of the ranks of predictions and targets, from -1 to 1."""
    return _correlation(_ranks(scores_BC[:, 0]), _ranks(value_B))


def _found(score: _Found, scores_BC: np.ndarray, targets: np.ndarray) -> float:
    if targets.ndim == 2:
        return float(_of_labels(score.labels, scores_BC, targets, "micro"))
    if scores_BC.shape[1] > 2:
        return _macro(score.classes, scores_BC, targets)
    return float(score.two(_tensor(scores_BC.argmax(1) == 1).long(), _tensor(targets == 1).long(), validate_args=False))


def _macro(score: Score, scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    """The mean over the classes that occur among the targets."""
    answer_B, wanted_B, classes = _occurring(scores_BC, label_B)
    each_K = score(answer_B, wanted_B, num_classes=classes, average=None, validate_args=False)
    return float(each_K[wanted_B.unique()].mean())


def _agreement(score: Score, scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    answer_B, wanted_B, classes = _occurring(scores_BC, label_B)
    if len(answer_B.unique()) < 2 or len(wanted_B.unique()) < 2:
        return 0.0
    return float(score(answer_B, wanted_B, num_classes=classes, validate_args=False))


def _occurring(scores_BC: np.ndarray, label_B: np.ndarray) -> tuple[Tensor, Tensor, int]:
    """Answers and targets, numbered among the classes that occur as either, and how many those are.

    torchmetrics counts pairs of classes: thousands that do not occur would cost millions of zeros.
    """
    found_K, number = np.unique(np.concatenate([scores_BC.argmax(1), label_B]), return_inverse=True)
    answer_B, wanted_B = _tensor(number).long().split(len(label_B))
    return answer_B, wanted_B, max(len(found_K), 2)


def _of_labels(score: Score, scores_BC: np.ndarray, wanted_BC: np.ndarray, average: str | None) -> Tensor:
    answered_BC = _tensor(scores_BC >= HALF).long()
    return score(
        answered_BC, _tensor(wanted_BC).long(), num_labels=wanted_BC.shape[1], average=average, validate_args=False
    )


def _numbers(scores_BC: np.ndarray, value_B: np.ndarray) -> tuple[Tensor, Tensor]:
    return _tensor(scores_BC[:, 0]).double(), _tensor(value_B).double()


def _correlation(left_B: np.ndarray, right_B: np.ndarray) -> float:
    """In deviations, because torchmetrics gives up on variances that are small beside their means."""
    if not (_varies(left_B) and _varies(right_B)):
        return 0.0
    pair = (_tensor((value_B - value_B.mean()) / value_B.std()) for value_B in (left_B, right_B))
    return float(regression.pearson_corrcoef(*pair))


def _varies(value_B: np.ndarray) -> bool:
    """Told by the ends: the deviation of equal numbers is not always 0, for their mean is rounded."""
    return bool(value_B.max() > value_B.min())


def _ranks(value_B: np.ndarray) -> np.ndarray:
    """float64 [B], equal values sharing their mean rank; torchmetrics sums ranks as int32, which overflows."""
    _, number_B, count = np.unique(value_B, return_inverse=True, return_counts=True)
    rank_B: np.ndarray = (np.cumsum(count) - (count - 1) / 2)[number_B]
    return rank_B


def _tensor(array: np.ndarray) -> Tensor:
    """A copy: what a metric is given may be read-only, which tensors cannot be."""
    return torch.from_numpy(np.array(array))
