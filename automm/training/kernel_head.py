"""Modules that a closed form leaves in a Model: a fusion without weights, and a kernel machine as a head.

Shape legend: B rows, D width, S supports, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from automm.fusions.fusion import Fusion
from automm.types import Features, FeatureSpec, Stream


class Concatenation(Fusion):
    """The pooled vectors of all fields side by side, [B, sum of widths]; nothing to learn."""

    TOKENS: ClassVar[bool] = False

    def __init__(self, specs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        self.fields = tuple(spec.field for spec in specs)
        self.widths = (sum(spec.width for spec in specs),)

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream."""
        return (Stream(torch.cat([features[field].pooled_BD for field in self.fields], dim=-1)),)


class KernelHead(nn.Module):
    """sum over supports of weight * exp(-gamma |z(x) - s|^2) + bias, where z standardises: [B, D] -> [B, C].

    The number of supports is fixed, so that a saved one fits any other; those not needed have no weight.
    """

    mean_D: Tensor
    scale_D: Tensor
    supports_SD: Tensor
    weight_SC: Tensor
    bias_C: Tensor
    gamma: Tensor

    def __init__(self, width: int, outputs: int, *, supports: int) -> None:
        super().__init__()
        self.register_buffer("mean_D", torch.zeros(width))
        self.register_buffer("scale_D", torch.ones(width))
        self.register_buffer("supports_SD", torch.zeros(supports, width))
        self.register_buffer("weight_SC", torch.zeros(supports, outputs))
        self.register_buffer("bias_C", torch.zeros(outputs))
        self.register_buffer("gamma", torch.ones(()))

    def forward(self, x_BD: Tensor) -> Tensor:
        """[B, D] -> logits [B, C]."""
        z_BD = (x_BD - self.mean_D) * self.scale_D
        squares_BS = z_BD.square().sum(-1, keepdim=True) + self.supports_SD.square().sum(-1)
        distance_BS = (squares_BS - 2 * z_BD @ self.supports_SD.T).clamp(min=0)
        return torch.exp(-self.gamma * distance_BS) @ self.weight_SC + self.bias_C
