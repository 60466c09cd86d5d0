"""Temperature scaling, and how far scores are from shares of right answers (Guo et al. 2017, arXiv:1706.04599).

Logits are divided by one number, which moves no answer.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from automm.metrics.classes import UNSEEN

BINS = 15
_MOST = 20.0  # a temperature lies between that and its inverse
_STEPS = 60
_ENOUGH = 10_000  # rows beyond which one number is known well enough


class Bin(NamedTuple):
    """Rows whose answers have about the same score."""

    score: float  # of their answers, on average
    right: float  # the share that is right
    rows: int


def temperature(logits_BC: np.ndarray, label_B: np.ndarray) -> float:
    """The temperature at which the negative log-likelihood of the rows' labels is least; 1 where there are no labels.

    Its inverse is what is looked for: the likelihood is convex in that. A normal prior on it, of mean and deviation 1,
    keeps a few rows that are all answered rightly from asking for scores of 1.

    Args:
        logits_BC: of rows that the model has not learnt from.
        label_B: the output that is each row's answer; rows of UNSEEN ones are left out.
    """
    usable = np.flatnonzero((label_B != UNSEEN) & np.isfinite(logits_BC).all(axis=1))
    usable = usable[:: max(1, math.ceil(len(usable) / _ENOUGH))]
    z_BC = logits_BC[usable].astype(np.float64)
    z_BC -= z_BC.max(axis=1, keepdims=True)
    own_B = z_BC[np.arange(len(usable)), label_B[usable]]
    low, high, inverse = 1 / _MOST, _MOST, 1.0
    for _ in range(_STEPS):  # Newton's method, and a bisection where it would leave what is known to hold the minimum
        p_BC = np.exp(inverse * z_BC)
        p_BC /= p_BC.sum(axis=1, keepdims=True)
        mean_B = (p_BC * z_BC).sum(axis=1)
        slope = float((mean_B - own_B).sum()) + inverse - 1
        curvature = float(((p_BC * z_BC**2).sum(axis=1) - mean_B**2).sum()) + 1
        step = slope / curvature
        if abs(step) < 1e-9:
            break
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        inverse = inverse - step if low < inverse - step < high else math.sqrt(low * high)
    return 1 / inverse


def at_temperature_one(scores_BC: np.ndarray, temperature: float) -> np.ndarray:
    """What a softmax over logits divided by `temperature` gives without the division, but for scores that are 0."""
    with np.errstate(divide="ignore"):
        log_BC = temperature * np.log(scores_BC.astype(np.float64))
    p_BC = np.exp(log_BC - log_BC.max(axis=1, keepdims=True))
    out_BC: np.ndarray = p_BC / p_BC.sum(axis=1, keepdims=True)
    return out_BC


def reliability(scores_BC: np.ndarray, label_B: np.ndarray) -> list[Bin]:
    """Rows by the score of their answer, in `BINS` bins of equal width; those that hold none are left out."""
    score_B = scores_BC.max(axis=1).astype(np.float64)
    right_B = scores_BC.argmax(axis=1) == label_B
    at_B = np.clip(np.ceil(score_B * BINS).astype(int) - 1, 0, BINS - 1)
    of_bins = [at_B == at for at in np.unique(at_B)]
    return [Bin(float(score_B[of].mean()), float(right_B[of].mean()), int(of.sum())) for of in of_bins]


def expected_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error: how far scores are from shares of right answers, on average over rows."""
    return sum(each.rows * abs(each.right - each.score) for each in bins) / sum(each.rows for each in bins)
