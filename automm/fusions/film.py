"""Feature-wise linear modulation.

Shape legend: B rows, U distinct items, N tokens, D width, K blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from automm.fusions.attention import masked_max, masked_mean, with_summary
from automm.fusions.fusion import Fusion
from automm.fusions.projection import (
    CONTEXT,
    CONTEXT_LAYERS,
    DIM,
    DROPOUT,
    PerField,
    TokenProjection,
    VectorProjection,
    focus,
    needs,
)
from automm.space import Int, Space
from automm.types import Features, FeatureSpec, Stream


class FiLM(Fusion):
    """FiLM (Perez et al. 2018, arXiv:1709.07871), [B, 2 * dim].

    One field, the one with tokens (images before text, then the most tokens), goes through residual blocks
    x + relu(gamma * norm(W x) + beta), where gamma and beta of every block are linear in the other fields' pooled
    vectors. Its tokens are then pooled by mean and maximum. Tokens exchange information in `context_layers`, before.

    Args:
        specs: what the encoders return, one a field, two fields or more.
        dim: width of the tokens.
        blocks: modulated residual blocks.
        context_layers: layers over the modulated field's tokens, if an image's or a sound's, once per distinct item.
        context: what those are: `attention`, or messages between `pairs` of tokens (see pairs.py).
        heads: attention heads in them; divides `dim`.
        positions: whether tokens get learned positions.
        dropout: in the context layers, and on each block's output.
    """

    SPACE: ClassVar[Space] = Space(
        {
            "dim": DIM,
            "blocks": Int(1, 6, default=2),
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
        blocks: int = 2,
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
            spec, dim, layers=context_layers, context=context, heads=heads, dropout=dropout, positions=positions
        )
        self.condition = PerField([s for s in specs if s.field != self.focus], lambda s: VectorProjection(s, dim))
        self.modulate = nn.Sequential(nn.GELU(), nn.Linear(dim, blocks * 2 * dim))
        self.blocks = nn.ModuleList(_Block(dim, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(2 * dim)
        self.widths = (2 * dim,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Two fields or more: one is modulated by the others."""
        return needs(specs, fields=2, name="film")

    def prepare(self, field: str, features: Features) -> Features:
        """Tokens [U, N, D] of the modulated field; a vector [U, D] of the others."""
        if field == self.focus:
            prepared: Features = self.tokens(features)
            return prepared
        return Features.of_vector(self.condition[field](features.pooled_BD))

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, 2D]."""
        tokens_BND, mask_BN, pooled_BD = features[self.focus]
        x_BND, mask_BN = with_summary(pooled_BD, tokens_BND, mask_BN)
        condition_BD = reduce(torch.add, [f.pooled_BD for name, f in features.items() if name != self.focus])
        for block, film_BP in zip(self.blocks, self.modulate(condition_BD).chunk(len(self.blocks), -1), strict=True):
            x_BND = block(x_BND, film_BP)
        return (Stream(self.norm(torch.cat([masked_mean(x_BND, mask_BN), masked_max(x_BND, mask_BN)], -1))),)


class _Block(nn.Module):
    """x + relu(gamma * norm(W x) + beta); gamma is around 1, so that a block starts as an ordinary one."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim, bias=False)
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)  # the modulation is its affine part
        self.drop = nn.Dropout(dropout)

    def forward(self, x_BND: Tensor, film_BP: Tensor) -> Tensor:
        gain_B1D, beta_B1D = film_BP[:, None].chunk(2, dim=-1)
        out_BND: Tensor = x_BND + self.drop(torch.relu((1 + gain_B1D) * self.norm(self.linear(x_BND)) + beta_B1D))
        return out_BND
