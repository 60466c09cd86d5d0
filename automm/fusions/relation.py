"""Relation network.

Shape legend: B rows, U distinct items, N tokens, O objects, D width of an object, G units of g.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from automm.fusions.attention import Keys, ReadBlock
from automm.fusions.fusion import Fusion
from automm.fusions.projection import (
    CONTEXT,
    CONTEXT_LAYERS,
    DROPOUT,
    PerField,
    TokenProjection,
    VectorProjection,
    focus,
    needs,
)
from automm.space import Int, OneOf, Space
from automm.types import Features, FeatureSpec, Stream


class Relation(Fusion):
    """Relation network (Santoro et al. 2017, arXiv:1706.01427), f(sum_ij g(o_i, o_j, q)), [B, hidden].

    Objects are the tokens of one field (images before text, then the most tokens), q the other fields' pooled vectors.
    The first layer of g over [o_i; o_j; q] is W_i o_i + W_j o_j + W_q q: the first two are computed once per distinct
    item, the sum is a broadcast, and what is left per pair is an addition. The sum over pairs is divided by their
    number, so that its scale does not depend on it, and normalised before f. A field of more than `objects` tokens is
    first summarised by that many learned queries: cost grows with the square.

    Args:
        specs: what the encoders return, one a field; one of them with tokens.
        objects: the most objects that are paired; at the field's token count or above, its tokens themselves are.
        pair: units of each layer of g, G.
        layers: layers of g, the split one included.
        dim: width of an object.
        hidden: units of f, and the width of the stream.
        context_layers: layers over the tokens, if an image's or a sound's, once per distinct item.
        context: what those are: `attention`, or messages between `pairs` of tokens (see pairs.py).
        heads: attention heads in them; divides `dim`.
        positions: whether tokens get learned positions.
        dropout: in the context layers and in f.
    """

    SPACE: ClassVar[Space] = Space(
        {
            "objects": OneOf((6, 8, 12, 16, 25, 36), ordered=True, default=12),
            "pair": OneOf((32, 64, 128, 256), ordered=True, default=64),
            "layers": Int(1, 4, default=2),
            "context_layers": CONTEXT_LAYERS,
            "context": CONTEXT,
            "dropout": DROPOUT,
        }
    )

    def __init__(
        self,
        specs: Sequence[FeatureSpec],
        *,
        objects: int = 12,
        pair: int = 64,
        layers: int = 2,
        dim: int = 64,
        hidden: int = 128,
        context_layers: int = 1,
        context: Literal["attention", "pairs"] = "attention",
        heads: int = 4,
        positions: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.focus = focus(specs)
        spec = next(s for s in specs if s.field == self.focus)
        self.tokens = TokenProjection(
            spec,
            dim,
            layers=context_layers,
            context=context,
            heads=heads,
            dropout=dropout,
            positions=positions,
            summary=False,
        )
        self.summarise = _Summary(objects, dim, heads, dropout) if spec.tokens > objects else None
        self.first_ij = nn.Linear(dim, 2 * pair)
        self.first_q = PerField([s for s in specs if s.field != self.focus], lambda s: VectorProjection(s, pair))
        self.g = nn.ModuleList(nn.Linear(pair, pair) for _ in range(layers - 1))
        self.f = nn.Sequential(
            nn.LayerNorm(pair), nn.Linear(pair, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(),
        )  # fmt: skip
        self.widths = (hidden,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """At least one field with tokens: a single vector has no pairs."""
        return needs(specs, with_tokens=1, name="relation")

    def prepare(self, field: str, features: Features) -> Features:
        """W_i o and W_j o side by side, [U, O, 2G], of the field of objects; W_q q, [U, G], of the others."""
        if field != self.focus:
            return Features.of_vector(self.first_q[field](features.pooled_BD))
        objects_UOD, mask_UO, pooled_UD = self.tokens(features)
        if self.summarise is not None:
            objects_UOD, mask_UO = self.summarise(objects_UOD, mask_UO)
        return Features(self.first_ij(objects_UOD), mask_UO, pooled_UD)

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, hidden]."""
        return (Stream(self.f(self.relate(features))),)

    def relate(self, features: Mapping[str, Features]) -> Tensor:
        """The mean over pairs of valid objects of g, [B, G]."""
        packed_BOP, mask_BO, _ = features[self.focus]
        i_BOG, j_BOG = packed_BOP.chunk(2, dim=-1)
        for name, field in features.items():
            if name != self.focus:
                i_BOG = i_BOG + field.pooled_BD[:, None]
        pair_BOOG = torch.relu(i_BOG[:, :, None] + j_BOG[:, None])
        for layer in self.g:
            pair_BOOG = torch.relu(layer(pair_BOOG))
        valid_BO = mask_BO.to(pair_BOOG.dtype)
        weight_BO = valid_BO / valid_BO.sum(1, keepdim=True)
        weight_B1P = (weight_BO[:, :, None] * weight_BO[:, None]).flatten(1)[:, None]
        return (weight_B1P @ pair_BOOG.flatten(1, 2))[:, 0]


class _Summary(nn.Module):
    """Learned queries that read the tokens: [U, N, D] -> [U, O, D], all of them valid."""

    def __init__(self, objects: int, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query_OD = nn.Parameter(torch.randn(objects, dim))
        self.keys = Keys(dim, heads=heads)
        self.read = ReadBlock(dim, heads=heads, dropout=dropout)

    def forward(self, x_UND: Tensor, mask_UN: Tensor) -> tuple[Tensor, Tensor]:
        query_UOD = self.query_OD.expand(x_UND.shape[0], -1, -1)
        objects_UOD = self.read(query_UOD, self.keys(x_UND), mask_UN)
        return objects_UOD, torch.ones_like(objects_UOD[..., 0], dtype=torch.bool)
