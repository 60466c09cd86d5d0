"""What the terms of a cross-entropy may be weighed by: how rare their class is, and how well they are known already.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from automm.metrics.classes import UNSEEN

_LEAST = 1e-6  # a power below 1 has no gradient at 0


@dataclass(frozen=True)
class Weighing:
    """Factors on the terms of a loss; made without arguments it weighs all alike.

    Args:
        weight_C: a factor for each class, on the device of the logits: on the rows of the class or, where each output
            is a yes or no of its own, on the yes.
        focal_gamma: a term whose right answer has the probability p counts (1 - p)^gamma times: what is known already
            counts less (focal loss; Lin et al. 2017, arXiv:1708.02002).
    """

    weight_C: Tensor | None = None
    focal_gamma: float = 0.0

    def softmax(self, logits_BC: Tensor, label_B: Tensor, *, label_smoothing: float) -> Tensor:
        """The mean over the rows whose class is known of their cross-entropies, weighed."""
        loss_B = F.cross_entropy(
            logits_BC, label_B, reduction="none", label_smoothing=label_smoothing, ignore_index=UNSEEN
        )
        own_B = label_B.clamp(min=0)
        if self.focal_gamma:
            p_B = logits_BC.softmax(dim=-1).gather(1, own_B[:, None])[:, 0]
            loss_B = loss_B * (1 - p_B).clamp(min=_LEAST) ** self.focal_gamma
        if self.weight_C is not None:
            loss_B = loss_B * self.weight_C[own_B]
        return loss_B.sum() / (label_B != UNSEEN).sum().clamp(min=1)

    def sigmoid(self, logits_BC: Tensor, wanted_BC: Tensor, smoothed_BC: Tensor) -> Tensor:
        """The mean over rows of their binary cross-entropies, weighed and summed over the outputs.

        Args:
            logits_BC: one an output.
            wanted_BC: how much of a yes each is, 0 to 1; a share of one is that share of its class's weight, and
                the focal factor is |wanted - p|^gamma (Li et al. 2020, arXiv:2006.04388).
            smoothed_BC: what the cross-entropies are taken against.
        """
        loss_BC = F.binary_cross_entropy_with_logits(logits_BC, smoothed_BC, reduction="none")
        if self.focal_gamma:
            away_BC = (wanted_BC - torch.sigmoid(logits_BC)).abs()
            loss_BC = loss_BC * away_BC.clamp(min=_LEAST) ** self.focal_gamma
        if self.weight_C is not None:
            loss_BC = loss_BC * (1 + wanted_BC * (self.weight_C - 1))
        return loss_BC.sum() / len(logits_BC)


def balanced(share_C: np.ndarray) -> np.ndarray:
    """Weights in inverse proportion to the classes' shares of the training targets, float32 [C].

    Every class then counts the same in all, and a target counts 1 on average (King & Zeng 2001, Political Analysis
    9:137-163).
    """
    share_C = np.asarray(share_C, np.float64)
    weight_C: np.ndarray = share_C.sum() / (len(share_C) * np.maximum(share_C, 1e-12))
    return weight_C.astype(np.float32)
