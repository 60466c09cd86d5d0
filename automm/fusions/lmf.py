"""Low-rank multimodal fusion.

Shape legend: B rows, U distinct items, D width of a field's vector, I = D + 1, R rank, H hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn

from automm.fusions.fusion import Fusion
from automm.fusions.projection import DROPOUT, PerField, VectorProjection, needs
from automm.space import OneOf, Space
from automm.types import Features, FeatureSpec, Stream


class LMF(Fusion):
    """Low-rank multimodal fusion (Liu et al. 2018, arXiv:1806.00064), [B, hidden].

    The tensor fusion W . ([x_1; 1] outer .. outer [x_F; 1]) with W = sum_r w_r (W_1^r outer .. outer W_F^r), which is
    sum_r w_r prod_f (W_f^r [x_f; 1]) without ever forming a tensor. The appended 1 keeps every order of interaction,
    each field alone included. A LayerNorm follows, as a product's scale grows with the number of fields.

    Args:
        specs: what the encoders return, one a field, one field or more.
        hidden: units, and the width of the stream.
        rank: terms of the decomposition, R.
        dim: each field's vector is projected to this before a 1 is appended.
        dropout: on the fused vector.
    """

    TOKENS: ClassVar[bool] = False
    SPACE: ClassVar[Space] = Space(
        {
            "hidden": OneOf((64, 128, 256, 512), ordered=True, default=128),
            "rank": OneOf((1, 2, 4, 8, 16), ordered=True, default=4),
            "dropout": DROPOUT,
        }
    )

    def __init__(
        self, specs: Sequence[FeatureSpec], *, hidden: int = 128, rank: int = 4, dim: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.rank, self.hidden = rank, hidden
        self.project = PerField(specs, lambda spec: VectorProjection(spec, dim))
        self.factors = PerField(specs, lambda _: _Factors(dim, rank, hidden))
        self.rank_weight_R = nn.Parameter(torch.full((rank,), rank**-0.5))
        self.bias_H = nn.Parameter(torch.zeros(hidden))
        self.norm = nn.LayerNorm(hidden)
        self.drop = nn.Dropout(dropout)
        self.widths = (hidden,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Any fields, one or more."""
        return needs(specs, name="lmf")

    def prepare(self, field: str, features: Features) -> Features:
        """W_f^r [x_f; 1] for every r, [U, rank * hidden]."""
        return Features.of_vector(self.factors[field](self.project[field](features.pooled_BD)))

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, hidden]."""
        return (Stream(self.drop(self.norm(self.combine([f.pooled_BD for f in features.values()])))),)

    def combine(self, factors: Sequence[Tensor]) -> Tensor:
        """The paper's equation: each field's factors [B, rank * hidden] -> [B, hidden], before the norm."""
        product_BRH = reduce(torch.mul, factors).unflatten(-1, (self.rank, self.hidden))
        fused_BH: Tensor = (product_BRH * self.rank_weight_R[:, None]).sum(1) + self.bias_H
        return fused_BH


class _Factors(nn.Module):
    """[x; 1] times one matrix a rank: [U, D] -> [U, R * H]."""

    def __init__(self, dim: int, rank: int, hidden: int) -> None:
        super().__init__()
        self.weight_RIH = nn.Parameter(torch.empty(rank, dim + 1, hidden))
        nn.init.normal_(self.weight_RIH, std=(dim + 1) ** -0.5)
        nn.init.ones_(self.weight_RIH[:, -1])  # what meets the 1: a product that starts near a sum of the fields

    def forward(self, x_UD: Tensor) -> Tensor:
        one_U1 = torch.ones_like(x_UD[:, :1])
        x_UI = torch.cat([x_UD, one_U1], dim=-1)
        return torch.einsum("ui,rih->urh", x_UI, self.weight_RIH).flatten(1)
