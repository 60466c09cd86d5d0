"""Concatenation, the fusion to beat.

Shape legend: B rows, U distinct items, W an encoder's width, D hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar

import torch
from torch import nn

from automm.fusions.fusion import Fusion
from automm.fusions.projection import DROPOUT, HIDDEN, PerField, VectorProjection, needs
from automm.space import Int, Space
from automm.types import Features, FeatureSpec, Stream


class Concat(Fusion):
    """Early fusion: an MLP over the concatenated pooled vectors of all fields, [B, sum W] -> [B, hidden].

    A linear layer over a concatenation is a sum of one linear layer a field, so that each field's share of the first
    layer is computed once per distinct item. Answers to `early` too.

    Args:
        specs: what the encoders return, one a field, one field or more.
        hidden: units of every layer, and the width of the stream.
        layers: depth of the MLP; 1 is a linear layer and its activation.
        dropout: after every activation.
    """

    TOKENS: ClassVar[bool] = False
    SPACE: ClassVar[Space] = Space({"hidden": HIDDEN, "layers": Int(1, 4, default=2), "dropout": DROPOUT})

    def __init__(
        self, specs: Sequence[FeatureSpec], *, hidden: int = 256, layers: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.first = PerField(specs, lambda spec: VectorProjection(spec, hidden))
        rest: list[nn.Module] = [nn.GELU(), nn.Dropout(dropout)]
        for _ in range(layers - 1):
            rest += [nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(dropout)]
        self.rest = nn.Sequential(*rest)
        self.widths = (hidden,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Any fields, one or more."""
        return needs(specs, name="concat")

    def prepare(self, field: str, features: Features) -> Features:
        """The field's share of the first layer, [U, hidden]."""
        return Features.of_vector(self.first[field](features.pooled_BD))

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, hidden]."""
        return (Stream(self.rest(reduce(torch.add, [f.pooled_BD for f in features.values()]))),)
