"""A number, or a date, as a vector.

Shape legend: U distinct numbers, C channels of one, K frequencies, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from automm.encoders.encoder import Encoder
from automm.runtime.number_styles import Style
from automm.runtime.preprocess import Preprocess
from automm.runtime.quantities import fit_quantity
from automm.space import Float, OneOf, Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality


class Periodic(Encoder):
    """A linear layer over the number, and a hidden layer over sines and cosines of it with learned frequencies.

    The PLR embedding of Gorishniy et al. 2022 (arXiv:2203.05556), which lets a network bend where a number matters,
    beside a linear path for where it does not. Both read the standardised number and its normal score, and of a date
    its place in the year, the week and the day as well: see NumericPreprocess and DatePreprocess.

    Options:
        width: D.
        frequencies: K, of each channel.
        sigma: deviation of the frequencies at the start: the larger, the finer what is told apart from the first.
    """

    MODALITIES: ClassVar[tuple[Modality, ...]] = ("numeric",)
    SPACE: ClassVar[Space] = Space(
        {
            "width": OneOf((8, 16, 32, 64), ordered=True, default=16),
            "sigma": Float(0.01, 10.0, log=True, default=0.1),
        }
    )

    @classmethod
    def fit_preprocess(cls, field: FieldSpec, values: Sequence[Any], **options: Any) -> Preprocess:
        """Median, scale and quantiles of `values`."""
        return fit_quantity(values, cast(Style, field.style) if field.style else None)

    def __init__(
        self, field: FieldSpec, preprocess: Preprocess, *, width: int = 16, frequencies: int = 16, sigma: float = 0.1
    ) -> None:
        super().__init__()
        channels = int(preprocess.signature["values"].shape[0])
        self.frequencies_CK = nn.Parameter(torch.randn(channels, frequencies) * sigma)
        self.linear = nn.Linear(channels, width)
        self.bends = nn.Sequential(nn.Linear(2 * channels * frequencies, width), nn.GELU(), nn.Linear(width, width))
        self.spec = FeatureSpec(field.name, "numeric", width, 1, has_tokens=False)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`values` float32 [U, C] -> Features of U numbers."""
        x_UC = inputs["values"].to(self.linear.weight.dtype)
        angles_UCK = 2 * math.pi * x_UC[..., None] * self.frequencies_CK
        waves_UF = torch.cat([angles_UCK.sin(), angles_UCK.cos()], dim=-1).flatten(1)
        return Features.of_vector(self.linear(x_UC) + self.bends(waves_UF))
