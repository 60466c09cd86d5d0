"""What a fusion is: the Features of every field -> one Stream, or several whose logits are summed by weight.

Shape legend: B rows, U distinct items of a field, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import nn

from automm.space import Space
from automm.types import Features, FeatureSpec, Stream


class Fusion(nn.Module):
    """Base of every fusion.

    `__init__(specs, *, options)` gets the FeatureSpec of every input field, in order; its keyword options are the
    configuration schema. Work that concerns one field alone (projections, self-attention within a field) belongs in
    `prepare`, which runs once per distinct item (one image for its twenty questions) before rows are expanded.
    """

    API: ClassVar[int] = 1
    SPACE: ClassVar[Space] = Space()

    widths: tuple[int, ...]  # the width of each stream `forward` returns; set by __init__

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """None when these fields can be fused, else the reason they cannot, in a sentence."""
        return None

    def prepare(self, field: str, features: Features) -> Features:
        """Per-field work over U distinct items; what it returns is expanded to B rows and given to `forward`."""
        return features

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """Prepared features of B rows by field -> streams, one per entry of `widths`."""
        raise NotImplementedError(f"{type(self).__name__} has no forward pass")
