"""Modules that a closed form leaves in a Model: a fusion without weights, and a kernel machine as a head.

Shape legend: B rows, D width, S supports, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn

from automm.fusions.fusion import Fusion
from automm.types import Features, FeatureSpec, Stream

_NOTHING = 1e-12  # a squared length below that is no direction
_AT_ONCE = 512  # supports


class Concatenation(Fusion):
    """The pooled vectors of all fields side by side, [B, sum of widths]; nothing to learn by gradients.

    Every field is centred. With `unit` its vector then gets the length that is the field's weight, so that fields of
    many features do not outweigh others; without, each feature is divided by its own deviation first and multiplied by
    the weight. A vector at the centre, which is what a missing item is given, stays at zero.
    """

    TOKENS: ClassVar[bool] = False
    mean_D: Tensor
    scale_D: Tensor
    weight_F: Tensor

    def __init__(self, specs: Sequence[FeatureSpec], *, unit: bool = False) -> None:
        super().__init__()
        self.fields, self.unit = tuple(spec.field for spec in specs), unit
        self._plain = False
        self.parts = tuple(spec.width for spec in specs)
        self.widths = (sum(self.parts),)
        self.register_buffer("mean_D", torch.zeros(sum(self.parts)))
        self.register_buffer("scale_D", torch.ones(sum(self.parts)))
        self.register_buffer("weight_F", torch.ones(len(specs)))

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream."""
        x_BD = torch.cat([features[field].pooled_BD for field in self.fields], dim=-1)
        return (Stream(x_BD if self._plain else self.scaled(x_BD)),)

    @contextmanager
    def unscaled(self) -> Iterator[None]:
        """Pass vectors on as they are while the block runs."""
        self._plain = True
        try:
            yield
        finally:
            self._plain = False

    def scaled(self, x_BD: Tensor) -> Tensor:
        """Vectors of all fields side by side -> the same, centred, scaled and weighed."""
        centred_BD = (x_BD - self.mean_D) * self.scale_D
        out = []
        for at, part_BW in enumerate(centred_BD.split(self.parts, dim=-1)):
            length_B1 = part_BW.square().sum(-1, keepdim=True).clamp(min=_NOTHING).sqrt() if self.unit else 1.0
            out.append(part_BW / length_B1 * self.weight_F[at])
        return torch.cat(out, dim=-1)


class KernelHead(nn.Module):
    """sum over supports of weight * exp(-gamma |x - s|^2) + bias: [B, D] -> [B, C].

    In double precision: the weights of a small penalty are large and of both signs, and little is left of their sum.
    What is solved for fewer rows than it was made for keeps no more of them than it needs.
    """

    supports_SD: Tensor
    weight_SC: Tensor
    bias_C: Tensor
    gamma: Tensor

    def __init__(self, width: int, outputs: int, *, supports: int) -> None:
        super().__init__()
        self.register_buffer("supports_SD", torch.zeros(supports, width))
        self.register_buffer("weight_SC", torch.zeros(supports, outputs, dtype=torch.float64))
        self.register_buffer("bias_C", torch.zeros(outputs, dtype=torch.float64))
        self.register_buffer("gamma", torch.ones((), dtype=torch.float64))

    def resize(self, supports: int) -> None:
        """Make room for so many supports, and forget those it has."""
        self.supports_SD = self.supports_SD.new_zeros(supports, self.supports_SD.shape[1])
        self.weight_SC = self.weight_SC.new_zeros(supports, self.weight_SC.shape[1])

    def resize_like(self, saved: Mapping[str, Sequence[int]]) -> None:
        """Make room for as many supports as were saved."""
        if "supports_SD" in saved:
            self.resize(saved["supports_SD"][0])

    def forward(self, x_BD: Tensor) -> Tensor:
        """[B, D] -> logits [B, C]."""
        x = x_BD.double()
        parts = [(self.supports_SD, self.weight_SC)]
        if not torch.compiler.is_exporting():  # in double precision all of them would take twice their room again
            parts = list(zip(self.supports_SD.split(_AT_ONCE), self.weight_SC.split(_AT_ONCE), strict=True))
        out_BC = sum((self._kernel(x, supports_SD) @ weight_SC for supports_SD, weight_SC in parts), self.bias_C)
        return out_BC.to(x_BD.dtype)

    def _kernel(self, x_BD: Tensor, supports_SD: Tensor) -> Tensor:
        """float64 [B, D] and some supports -> float64 [B, S]."""
        s_SD = supports_SD.double()
        squares_BS = x_BD.square().sum(-1, keepdim=True) + s_SD.square().sum(-1)
        return torch.exp(-self.gamma * (squares_BS - 2 * x_BD @ s_SD.T).clamp(min=0))
