"""Metrics of classes that are the mean of a value each row has of its own.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

import numpy as np

from automm.metrics import classes
from automm.metrics.metric import metric


@metric(higher_is_better=True, reads=("classes",), per_row=True)
def accuracy(scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    """The share of rows whose highest score is the right class's."""
    return float((scores_BC.argmax(1) == label_B).mean())


@metric(higher_is_better=False, reads=("classes",), per_row=True)
def log_loss(scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    """The mean negative logarithm of the right class's score, which is taken as 1e-7 at least."""
    return float(classes.log_loss(scores_BC, label_B).mean())


@metric(higher_is_better=True, reads=("classes",), per_row=True)
def top_3(scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    """The share of rows whose right class is among the three highest scores."""
    return _among_highest(3, scores_BC, label_B)


@metric(higher_is_better=True, reads=("classes",), per_row=True)
def top_5(scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    """The share of rows whose right class is among the five highest scores."""
    return _among_highest(5, scores_BC, label_B)


def _among_highest(count: int, scores_BC: np.ndarray, label_B: np.ndarray) -> float:
    """Of equal scores the first counts as higher, as it does for the answer."""
    own_B1 = np.take_along_axis(scores_BC, np.maximum(label_B, 0)[:, None], axis=1)
    earlier_BC = np.arange(scores_BC.shape[1]) < label_B[:, None]
    higher_BC = (scores_BC > own_B1) | ((scores_BC == own_B1) & earlier_BC)
    return float(((higher_BC.sum(1) < count) & (label_B != classes.UNSEEN)).mean())
