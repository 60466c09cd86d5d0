"""What measuring classes takes, whoever does it.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

import numpy as np

UNSEEN = -1  # the label of a target that training never saw
_LEAST = 1e-7  # a score of 0 has no logarithm


def log_loss(scores_BC: np.ndarray, label_B: np.ndarray) -> np.ndarray:
    """float64 [B]: minus the logarithm of the score of each row's own class; an unseen class has the least score."""
    own_B = np.where(label_B == UNSEEN, 0.0, scores_BC[np.arange(len(label_B)), np.maximum(label_B, 0)])
    return -np.log(np.clip(own_B.astype(np.float64), _LEAST, 1.0))
