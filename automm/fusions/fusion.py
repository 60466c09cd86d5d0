"""What a fusion is: the Features of every field -> one Stream, or several whose logits are summed by weight.

Shape legend: B rows, U distinct items of a field, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

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
    TOKENS: ClassVar[bool] = True  # False: `forward` reads `pooled_BD` alone, tokens need not be expanded
    SIDE_BY_SIDE: ClassVar[bool] = False  # True: its stream is a vector a field, all zeros where a row lacks the field

    widths: tuple[int, ...]  # the width of each stream `forward` returns; set by __init__

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """None when these fields can be fused, else the reason they cannot, in a sentence."""
        return None

    def prepare(self, field: str, features: Features) -> Features:
        """Per-field work over U distinct items; what it returns is expanded to B rows and given to `forward`.

        Of one item nothing depends on the others, unless through batch normalisation: the missing item may come alone.
        """
        return features

    def fuse(self, features: Mapping[str, Features], rows: Mapping[str, Tensor]) -> tuple[Stream, ...]:
        """Prepared features of U items by field and the item each row takes (int64 [B]) -> streams of B rows.

        Expands and calls `forward`. A fusion whose rows can share work (the questions of one image read the same keys)
        overrides this as well; both ways must give the same numbers, for only `forward` is exported.
        """
        streams: tuple[Stream, ...] = self({f: expand(features[f], rows[f], self.TOKENS) for f in features})
        return streams

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """Prepared features of B rows by field -> streams, one per entry of `widths`."""
        raise NotImplementedError(f"{type(self).__name__} has no forward pass")


def expand(features: Features, rows_B: Tensor, tokens: bool = True) -> Features:
    """Features of U items -> of the B rows that take them. Without `tokens`, the pooled vector is the only token."""
    pooled_BD = features.pooled_BD.index_select(0, rows_B)
    if not tokens:
        return Features(pooled_BD[:, None], pooled_BD.new_ones(len(pooled_BD), 1).bool(), pooled_BD)
    return Features(features.tokens_BND.index_select(0, rows_B), features.mask_BN.index_select(0, rows_B), pooled_BD)
