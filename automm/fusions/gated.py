"""Gated multimodal unit.

Shape legend: B rows, U distinct items, D hidden units, F fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import nn

from automm.fusions.fusion import Fusion
from automm.fusions.projection import DROPOUT, HIDDEN, PerField, VectorProjection, needs
from automm.space import Space
from automm.types import Features, FeatureSpec, Stream


class Gated(Fusion):
    """Gated multimodal unit (Arevalo et al. 2017, arXiv:1702.01992), [B, hidden].

    h_f = tanh(W_f x_f) and a gate per hidden unit, driven by all fields: z = sigmoid(Z [x_1; ..; x_F]). With two
    fields h = z * h_1 + (1 - z) * h_2; otherwise, as the paper says, a field has a gate of its own: h = sum z_f * h_f.

    Args:
        specs: what the encoders return, one a field, one field or more.
        hidden: units, and the width of the stream.
        dropout: on the fused vector.
    """

    TOKENS: ClassVar[bool] = False
    SPACE: ClassVar[Space] = Space({"hidden": HIDDEN, "dropout": DROPOUT})

    def __init__(self, specs: Sequence[FeatureSpec], *, hidden: int = 256, dropout: float = 0.0) -> None:
        super().__init__()
        self.hidden = hidden
        self.fields = tuple(spec.field for spec in specs)
        self.gates = 1 if len(specs) == 2 else len(specs)
        # W_f and the field's columns of Z side by side: a gate over a concatenation is a sum of one share a field.
        self.project = PerField(specs, lambda spec: VectorProjection(spec, hidden * (1 + self.gates)))
        self.drop = nn.Dropout(dropout)
        self.widths = (hidden,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Any fields, one or more."""
        return needs(specs, name="gated")

    def prepare(self, field: str, features: Features) -> Features:
        """W_f x_f and the field's share of every gate, side by side: [U, hidden * (1 + gates)]."""
        return Features.of_vector(self.project[field](features.pooled_BD))

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, hidden]."""
        packed_FBP = torch.stack([features[f].pooled_BD for f in self.fields])
        h_FBD = torch.tanh(packed_FBP[..., : self.hidden])
        z_BG = torch.sigmoid(packed_FBP[..., self.hidden :].sum(0))
        if len(self.fields) == 2:
            return (Stream(self.drop(z_BG * h_FBD[0] + (1 - z_BG) * h_FBD[1])),)
        z_FBD = z_BG.unflatten(-1, (self.gates, self.hidden)).movedim(1, 0)
        return (Stream(self.drop((z_FBD * h_FBD).sum(0))),)
