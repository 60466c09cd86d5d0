"""Late fusion: every field decides for itself, and the decisions are averaged.

Shape legend: B rows, U distinct items, D hidden units, F fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import nn

from automm.fusions.fusion import Fusion
from automm.fusions.projection import DROPOUT, HIDDEN, PerField, VectorProjection, needs
from automm.space import Int, Space
from automm.types import Features, FeatureSpec, Stream


class Late(Fusion):
    """One stream a field, [B, hidden] each; their heads' logits are averaged with learned weights, softmax(w)_F.

    No interaction between fields can be expressed: what `late` loses to the others is what interaction is worth.

    Args:
        specs: what the encoders return, one a field, one field or more.
        hidden: units of each field's MLP, and the width of its stream.
        layers: depth of each field's MLP.
        dropout: after every activation.
    """

    TOKENS: ClassVar[bool] = False
    SPACE: ClassVar[Space] = Space({"hidden": HIDDEN, "layers": Int(1, 4, default=1), "dropout": DROPOUT})

    def __init__(
        self, specs: Sequence[FeatureSpec], *, hidden: int = 256, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()

        def decide(spec: FeatureSpec) -> nn.Sequential:
            steps: list[nn.Module] = [VectorProjection(spec, hidden), nn.GELU(), nn.Dropout(dropout)]
            for _ in range(layers - 1):
                steps += [nn.Linear(hidden, hidden), nn.GELU(), nn.Dropout(dropout)]
            return nn.Sequential(*steps)

        self.fields = tuple(spec.field for spec in specs)
        self.decide = PerField(specs, decide)
        self.weight_F = nn.Parameter(torch.zeros(len(specs)))
        self.widths = (hidden,) * len(specs)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Any fields, one or more."""
        return needs(specs, name="late")

    def prepare(self, field: str, features: Features) -> Features:
        """The whole of the field's MLP, [U, hidden]: nothing in it depends on other fields."""
        return Features.of_vector(self.decide[field](features.pooled_BD))

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, hidden] a field, in the order of `specs`, each with its weight [1]; weights sum to 1."""
        weight_F = self.weight_F.softmax(0)
        return tuple(Stream(features[f].pooled_BD, weight_F[at : at + 1]) for at, f in enumerate(self.fields))
