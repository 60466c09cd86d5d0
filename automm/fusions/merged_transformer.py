"""One-stream transformer.

Shape legend: B rows, U distinct items, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from automm.fusions.attention import SelfBlock, layer_share, with_summary
from automm.fusions.fusion import Fusion
from automm.fusions.projection import CONTEXT, CONTEXT_LAYERS, DIM, DROPOUT, PerField, TokenProjection, needs
from automm.fusions.sharing import Context, read_as_one
from automm.space import Int, Space
from automm.types import Features, FeatureSpec, Stream


class MergedTransformer(Fusion):
    """One transformer over the tokens of all fields in one sequence, [B, dim].

    As in VisualBERT (Li et al. 2019, arXiv:1908.03557) and ViLT (Kim et al. 2021, arXiv:2102.03334): every token
    attends to every other whatever its field; a field is told by its own projection and positions. What is read is a
    first token that starts as the sum of the fields' pooled vectors. Only it asks in the last layer: nothing else of
    that layer would be read.

    Args:
        specs: what the encoders return, one a field; two tokens or more between them.
        dim: width of the tokens, and of the stream.
        layers: transformer layers over the merged sequence.
        context_layers: layers within an image or a sound before merging, once per distinct item.
        context: what those are: `attention`, or messages between `pairs` of tokens (see pairs.py).
        heads: attention heads; divides `dim`.
        positions: whether tokens get learned positions.
        dropout: in every layer.
    """

    SPACE: ClassVar[Space] = Space(
        {
            "dim": DIM,
            "layers": Int(1, 6, default=2),
            "context_layers": CONTEXT_LAYERS,
            "context": CONTEXT,
            "dropout": DROPOUT,
        }
    )

    def __init__(
        self,
        specs: Sequence[FeatureSpec],
        *,
        dim: int = 64,
        layers: int = 2,
        context_layers: int = 1,
        context: Literal["attention", "pairs"] = "attention",
        heads: int = 4,
        positions: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.fields = tuple(spec.field for spec in specs)
        self.project = PerField(
            specs,
            lambda s: TokenProjection(
                s, dim, layers=context_layers, context=context, heads=heads, dropout=dropout, positions=positions
            ),
        )
        self.blocks = nn.ModuleList(SelfBlock(dim, heads=heads, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.widths = (dim,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Two tokens or more to attend to: two fields, or one that has tokens."""
        return needs(specs, with_tokens=1 if len(specs) == 1 else 0, name="merged_transformer")

    def prepare(self, field: str, features: Features) -> Features:
        """Tokens as the first layer takes them, [U, N, P], and pooled [U, D]."""
        tokens_UND, mask_UN, pooled_UD = self.project[field](features)
        return Features(self._packed(tokens_UND), mask_UN, pooled_UD)

    def fuse(self, features: Mapping[str, Features], rows: Mapping[str, Tensor]) -> tuple[Stream, ...]:
        """As `forward`; where there is one layer, an item's keys are read together by all rows that share it."""
        if len(self.blocks) > 1:
            return super().fuse(features, rows)
        block, each = self._first, [(features[f], rows[f]) for f in self.fields]
        x_B1D = reduce(torch.add, [item.pooled_BD.index_select(0, at) for item, at in each])[:, None]
        own = Context(block.keys_of(x_B1D), torch.ones_like(x_B1D[..., 0], dtype=torch.bool))
        shared = [Context.shared(item.tokens_BND, item.mask_BN, at) for item, at in each]
        read_B1D = read_as_one(block.attention, block.norm(x_B1D), [own, *shared])
        return (Stream(self.norm(block.after(x_B1D, read_B1D)[:, 0])),)

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, D]."""
        parts = [features[f] for f in self.fields]
        summary_BD = reduce(torch.add, [p.pooled_BD for p in parts])
        packed_BNP, mask_BN = with_summary(
            self._packed(summary_BD),
            torch.cat([p.tokens_BND for p in parts], dim=1),
            torch.cat([p.mask_BN for p in parts], dim=1),
        )
        others = self.blocks[1:]
        asking_BND = packed_BNP[..., -self.dim :] if others else summary_BD[:, None]
        x_BND = self._first.reading(asking_BND, packed_BNP[..., layer_share(0, self.dim)], mask_BN)
        for block in others:
            x_BND = block(x_BND, mask_BN, first=1 if block is self.blocks[-1] else None)
        return (Stream(self.norm(x_BND[:, 0])),)

    def _packed(self, x_BND: Tensor) -> Tensor:
        """The first layer's keys and values of tokens and, where a further layer asks again, the tokens: [B, N, P].

        They are made of each token by itself: once per distinct item, however many rows merge it.
        """
        keys_BNP = self._first.keys_of(x_BND)
        return keys_BNP if len(self.blocks) == 1 else torch.cat([keys_BNP, x_BND], dim=-1)

    @property
    def _first(self) -> SelfBlock:
        return self.blocks[0]  # type: ignore[return-value]
