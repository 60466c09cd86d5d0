"""Attention bottleneck: a few latents are all that fields can exchange.

Shape legend: B rows, U distinct items, N tokens, D width, K latents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from automm.fusions.attention import Keys, ReadBlock, SelfBlock, layer_share
from automm.fusions.fusion import Fusion
from automm.fusions.projection import CONTEXT, CONTEXT_LAYERS, DIM, DROPOUT, PerField, TokenProjection, focus, needs
from automm.fusions.sharing import Context
from automm.space import Int, OneOf, Space
from automm.types import Features, FeatureSpec, Stream


class Bottleneck(Fusion):
    """A few latents read each field in turn and then each other, [B, 2 * dim].

    As in attention bottlenecks (Nagrani et al. 2021, arXiv:2107.00135), fields meet in the latents alone, and a layer
    visits them one after another, the field with the most to read last, so that it is read in the light of the rest.
    As in the Perceiver (Jaegle et al. 2021, arXiv:2103.03206), latents are not written back into the tokens: a field's
    own layers and the keys and values of every layer are made once per distinct item.

    Args:
        specs: what the encoders return, one a field, one field or more.
        dim: width of tokens and latents.
        latents: how many there are, K.
        layers: times that all fields are read.
        context_layers: layers within an image or a sound, once per distinct item.
        context: what those are: `attention`, or messages between `pairs` of tokens (see pairs.py).
        heads: attention heads; divides `dim`.
        positions: whether tokens get learned positions.
        dropout: in every layer.
    """

    SPACE: ClassVar[Space] = Space(
        {
            "dim": DIM,
            "latents": OneOf((1, 2, 4, 8, 16), ordered=True, default=4),
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
        latents: int = 4,
        layers: int = 2,
        context_layers: int = 1,
        context: Literal["attention", "pairs"] = "attention",
        heads: int = 4,
        positions: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dim = dim
        last = focus(specs)
        self.order = tuple(sorted((spec.field for spec in specs), key=lambda field: field == last))
        self.project = PerField(
            specs,
            lambda s: TokenProjection(
                s, dim, layers=context_layers, context=context, heads=heads, dropout=dropout, positions=positions
            ),
        )
        self.keys = PerField(specs, lambda _: Keys(dim, heads=heads, layers=layers))
        self.latents_KD = nn.Parameter(torch.randn(latents, dim) * 0.5)
        self.read = PerField(
            specs, lambda _: nn.ModuleList(ReadBlock(dim, heads=heads, dropout=dropout) for _ in range(layers))
        )
        self.exchange = nn.ModuleList(SelfBlock(dim, heads=heads, dropout=dropout) for _ in range(layers))
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.Flatten(1), nn.Linear(latents * dim, 2 * dim), nn.GELU())
        self.widths = (2 * dim,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Two tokens or more to read: two fields, or one that has tokens."""
        return needs(specs, with_tokens=1 if len(specs) == 1 else 0, name="bottleneck")

    def prepare(self, field: str, features: Features) -> Features:
        """Keys and values of every layer, [U, N, layers * 2D], and pooled [U, D]."""
        tokens_UND, mask_UN, pooled_UD = self.project[field](features)
        return Features(self.keys[field](tokens_UND), mask_UN, pooled_UD)

    def fuse(self, features: Mapping[str, Features], rows: Mapping[str, Tensor]) -> tuple[Stream, ...]:
        """As `forward`, with the keys of an item read together by all rows that share it."""
        pooled = {f: features[f].pooled_BD.index_select(0, rows[f]) for f in self.order}
        contexts = {f: Context.shared(features[f].tokens_BND, features[f].mask_BN, rows[f]) for f in self.order}
        return self._fused(pooled, contexts)

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, 2D]."""
        pooled = {f: features[f].pooled_BD for f in self.order}
        return self._fused(pooled, {f: Context(features[f].tokens_BND, features[f].mask_BN) for f in self.order})

    def _fused(self, pooled: Mapping[str, Tensor], contexts: Mapping[str, Context]) -> tuple[Stream, ...]:
        x_BKD = self.latents_KD + reduce(torch.add, [pooled[f] for f in self.order])[:, None]
        all_BK = torch.ones_like(x_BKD[..., 0], dtype=torch.bool)
        for layer, exchange in enumerate(self.exchange):
            for f in self.order:
                x_BKD = contexts[f].read(self.read[f][layer], x_BKD, layer_share(layer, self.dim))
            x_BKD = exchange(x_BKD, all_BK)
        return (Stream(self.out(x_BKD)),)
