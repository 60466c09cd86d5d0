"""Two towers: each field in a space that both share, and nothing joined.

Shape legend: B rows, U distinct items, W an encoder's width, D the common width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from automm.fusions.fusion import Fusion
from automm.fusions.projection import DROPOUT, PerField, input_norm
from automm.space import Int, OneOf, Space
from automm.types import Features, FeatureSpec, Stream


class Towers(Fusion):
    """A unit vector for each of two fields, side by side, [B, 2 D]: what retrieval compares (CLIP, Radford et al. 2021,
    arXiv:2103.00020).

    A field's pooled vector is normalised, brought to the common width and divided by its length; neither field knows of
    the other. The half of a field that a row lacks is zeros, whose cosine with anything is 0.

    Args:
        specs: what the encoders return, of exactly two fields.
        dim: the common width, D.
        layers: of each projection; 1 is linear, 2 has a hidden layer of D units.
        dropout: before the last layer.
    """

    TOKENS: ClassVar[bool] = False
    SIDE_BY_SIDE: ClassVar[bool] = True
    SPACE: ClassVar[Space] = Space(
        {
            "dim": OneOf((64, 128, 256, 512), ordered=True, default=256),
            "layers": Int(1, 2, default=1),
            "dropout": DROPOUT,
        }
    )

    def __init__(self, specs: Sequence[FeatureSpec], *, dim: int = 256, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()

        def project(spec: FeatureSpec) -> nn.Sequential:
            hidden = [nn.Linear(spec.width, dim), nn.GELU()] if layers > 1 else []
            return nn.Sequential(
                input_norm(spec), *hidden, nn.Dropout(dropout), nn.Linear(dim if hidden else spec.width, dim)
            )

        self.fields = tuple(spec.field for spec in specs)
        self.project = PerField(specs, project)
        self.widths = (2 * dim,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Two fields, of whatever modality."""
        if len(specs) == 2:
            return None
        return f"towers compares exactly two input fields, and there are {len(specs)}."

    def prepare(self, field: str, features: Features) -> Features:
        """The field's unit vectors, [U, D]: all of its tower."""
        return Features.of_vector(F.normalize(self.project[field](features.pooled_BD), dim=-1))

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, 2 D], the halves in the order of `specs`."""
        return (Stream(torch.cat([features[f].pooled_BD for f in self.fields], dim=-1)),)
