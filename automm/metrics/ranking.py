"""How well scores rank rows: each column is sorted once, which torchmetrics takes ten times as long over.

Averages are over the classes and labels that occur; where none can be ranked, the value is that of knowing nothing.

Shape legend: B rows, C outputs, P rows of a class, N other rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from automm.metrics.classes import UNSEEN
from automm.metrics.metric import metric


@metric(higher_is_better=True, reads=("classes", "labels"))
def auroc(scores_BC: np.ndarray, targets: np.ndarray) -> float:
    """The area under the receiver operating characteristic: how often a row of a class outscores one of another.

    Of two classes it is the second's in reading order; of more, and of labels, the average of each against the rest.
    """
    areas = [
        _area(score_B, own_B) for score_B, own_B in _columns(scores_BC, targets) if own_B.any() and not own_B.all()
    ]
    return float(np.mean(areas)) if areas else 0.5


@metric(higher_is_better=True, reads=("classes", "labels"))
def average_precision(scores_BC: np.ndarray, targets: np.ndarray) -> float:
    """The area under precision over recall, as a sum of steps, of the classes or labels that auroc is of."""
    areas = [_steps(score_B, own_B) for score_B, own_B in _columns(scores_BC, targets) if own_B.any()]
    return float(np.mean(areas)) if areas else 0.0


def _columns(scores_BC: np.ndarray, targets: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores and whether the row is of it, [B] each: for every label, every class that occurs, the second of two."""
    if targets.ndim == 2:
        yield from zip(scores_BC.T, targets.T, strict=True)
        return
    found = np.array([1]) if scores_BC.shape[1] == 2 else np.unique(targets[targets != UNSEEN])
    for label in found:
        yield scores_BC[:, label], targets == label


def _area(score_B: np.ndarray, own_B: np.ndarray) -> float:
    """The share of pairs of an own row and another in which the own one scores higher; equal scores are half a win."""
    own_P, other_N = score_B[own_B], np.sort(score_B[~own_B])
    wins_P = np.searchsorted(other_N, own_P, "left") + np.searchsorted(other_N, own_P, "right")
    return float(wins_P.mean()) / (2 * len(other_N))


def _steps(score_B: np.ndarray, own_B: np.ndarray) -> float:
    """The mean, over own rows, of the precision among all rows that score as high or higher."""
    own_P, all_B = np.sort(score_B[own_B]), np.sort(score_B)
    found_P = len(own_P) - np.searchsorted(own_P, own_P, "left")
    return float((found_P / (len(all_B) - np.searchsorted(all_B, own_P, "left"))).mean())
