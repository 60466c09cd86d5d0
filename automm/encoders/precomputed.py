"""Stands in for a frozen encoder whose outputs were computed before.

Shape legend: U distinct items, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from automm.encoders.encoder import Encoder
from automm.types import Features, FeatureSpec


class Precomputed(Encoder):
    """Passes features on: no component, for nobody chooses it. Without `tokens` the vector is the only token.

    Args:
        spec: of the encoder it stands for.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`pooled` [U, D] and perhaps `tokens` [U, N, D] with `mask` [U, N] -> Features of U items."""
        if "tokens" not in inputs:
            return Features.of_vector(inputs["pooled"])
        return Features(inputs["tokens"], inputs["mask"], inputs["pooled"])
