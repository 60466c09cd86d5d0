"""Messages between pairs of tokens: what attention must learn slowly, which token is nearest, is a maximum here.

Shape legend: B items, N tokens, D width, G units of a message, S squared differences.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automm.extremes import amax
from automm.fusions.attention import FeedForward

_NEVER = 1e4  # subtracted from a message that must not win a maximum; finite, so that no gradient is NaN


class PairBlock(nn.Module):
    """x_i + W [max_j g_ij, -min_j g_ij] over the other tokens j, then x + feed-forward(norm x), [B, N, D].

    g_ij = V gelu(W_i n_i + W_j n_j + W_s (P n_i - P n_j)^2), n = norm x: the edge convolution of Wang et al. 2019
    (arXiv:1801.07829) with messages that see squared differences, as in Satorras et al. 2021 (arXiv:2102.09844), here
    in S learned directions. A token is no pair with itself: at difference 0 it would win every "nearest". The maximum
    is taken of every unit of g. A token that is alone gets no message.
    """

    def __init__(self, dim: int, *, units: int = 64, differences: int = 16, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.first_ij = nn.Linear(dim, 2 * units)
        self.direction = nn.Linear(dim, differences, bias=False)
        self.square = nn.Linear(differences, units, bias=False)
        self.message = nn.Linear(units, units)
        self.out = nn.Linear(2 * units, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = FeedForward(dim, expansion=2, dropout=dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]; only valid tokens send messages."""
        x_BND = x_BND + self.drop(self.out(self._messages(self.norm(x_BND), mask_BN)))
        x_BND = x_BND + self.drop(self.feed(self.feed_norm(x_BND)))
        return x_BND

    def _messages(self, n_BND: Tensor, mask_BN: Tensor) -> Tensor:
        i_BNG, j_BNG = self.first_ij(n_BND).chunk(2, dim=-1)
        place_BNS = self.direction(n_BND)
        square_BNNS = (place_BNS[:, :, None] - place_BNS[:, None]).square()
        pair_BNNG = F.gelu(i_BNG[:, :, None] + j_BNG[:, None] + self.square(square_BNNS))
        pair_BNNG = self.message(pair_BNNG)
        other_NN = ~torch.eye(n_BND.shape[1], dtype=torch.bool, device=n_BND.device)
        sends_BNN = mask_BN[:, None, :] & other_NN
        never_BNN1 = (~sends_BNN).to(n_BND.dtype)[..., None] * _NEVER
        found_BNP = torch.cat([amax(pair_BNNG - never_BNN1, 2), amax(-pair_BNNG - never_BNN1, 2)], dim=-1)
        return found_BNP * sends_BNN.any(2)[..., None].to(found_BNP.dtype)
