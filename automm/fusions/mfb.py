"""Multi-modal factorised bilinear pooling.

Shape legend: B rows, U distinct items, D hidden units, K rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from automm.fusions.fusion import Fusion
from automm.fusions.projection import DROPOUT, HIDDEN, PerField, VectorProjection, needs
from automm.space import OneOf, Space
from automm.types import Features, FeatureSpec, Stream

_FLOOR = 1e-6  # under the square root: its slope at zero is infinite


class MFB(Fusion):
    """Factorised bilinear pooling (Yu et al. 2017, arXiv:1708.01471), [B, hidden].

    z = SumPool_K(U x * V y), then sign(z) sqrt|z|, then L2-normalised, here times sqrt(hidden) so that a unit has
    unit size whatever `hidden` is. More than two fields are multiplied together. `rank=1` is MLB (Kim et al. 2017,
    arXiv:1610.04325) without its tanh.

    Args:
        specs: what the encoders return, one a field, one field or more.
        hidden: units after pooling, and the width of the stream.
        rank: factors that are summed for one unit, K.
        dropout: on the product, before it is pooled.
    """

    TOKENS: ClassVar[bool] = False
    SPACE: ClassVar[Space] = Space(
        {"hidden": HIDDEN, "rank": OneOf((1, 2, 3, 5, 8), ordered=True, default=2), "dropout": DROPOUT}
    )

    def __init__(self, specs: Sequence[FeatureSpec], *, hidden: int = 256, rank: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden, self.rank = hidden, rank
        self.project = PerField(specs, lambda spec: VectorProjection(spec, hidden * rank))
        self.drop = nn.Dropout(dropout)
        self.widths = (hidden,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Any fields, one or more."""
        return needs(specs, name="mfb")

    def prepare(self, field: str, features: Features) -> Features:
        """The field's factors, [U, hidden * rank]."""
        return Features.of_vector(self.project[field](features.pooled_BD))

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, hidden]."""
        product_BP = reduce(torch.mul, [f.pooled_BD for f in features.values()])
        pooled_BD = self.drop(product_BP).unflatten(-1, (self.hidden, self.rank)).sum(-1)
        rooted_BD = torch.sign(pooled_BD) * torch.sqrt(pooled_BD.abs() + _FLOOR)
        return (Stream(F.normalize(rooted_BD, dim=-1) * math.sqrt(self.hidden)),)
