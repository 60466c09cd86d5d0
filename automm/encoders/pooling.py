"""One vector of what several layers of an encoder say.

The last layer of a network trained for other labels has thrown away what those did not need, and a linear probe on
several layers beats one on the last (Evci et al. 2022, "Head2Toe", ICML). Widths and scales of layers differ: each
piece is standardised by itself.

Shape legend: U distinct items, D width, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

DEPTH = 3  # layers that are read, the last ones


def side_by_side(pieces_UD: Sequence[Tensor]) -> Tensor:
    """Vectors [U, D] of several widths -> one, in which each has mean 0 and length 1."""
    return torch.cat([F.layer_norm(x_UD, x_UD.shape[-1:]) * x_UD.shape[-1] ** -0.5 for x_UD in pieces_UD], dim=-1)


def mean_and_maximum(maps_UDHW: Sequence[Tensor]) -> list[Tensor]:
    """Mean [U, D] and maximum [U, D] of every map."""
    return [reduced for x_UDHW in maps_UDHW for reduced in (x_UDHW.mean((2, 3)), x_UDHW.amax((2, 3)))]
