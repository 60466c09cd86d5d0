"""Mixup: rows are mixed in pairs, and so are their losses.

What is mixed is what the heads read, for rows share items and an item may be token ids: manifold mixup at the fusion's
output.

Shape legend: B rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from automm.types import Mix


def draw_mix(rows: int, alpha: float, draws: np.random.Generator, device: torch.device) -> Mix:
    """A pairing of the rows of a batch, and the share that each keeps: Beta(alpha, alpha), one draw for the batch
    (Zhang et al. 2018, arXiv:1710.09412; of hidden vectors Verma et al. 2019, arXiv:1806.05236)."""
    share = float(draws.beta(alpha, alpha))
    return Mix(share, torch.from_numpy(draws.permutation(rows)).to(device))


def mixed_loss(mix: Mix, loss: Callable[[Mapping[str, Tensor]], Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """The loss to the rows' own targets and to the others', by their shares.

    Of a cross-entropy that is the loss to the mixed target; of a squared error it has the same gradient.

    Args:
        mix: how the rows were mixed.
        loss: the loss of the mixed rows to some targets.
        targets: the rows' own, each with a leading B axis.
    """
    others = {name: target.index_select(0, mix.other_B) for name, target in targets.items()}
    return mix.share * loss(targets) + (1 - mix.share) * loss(others)
