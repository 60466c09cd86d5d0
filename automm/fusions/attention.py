"""Pre-norm attention blocks whose keys and values can be made ahead of time, once per distinct item.

Shape legend: B rows (or items), N queries, M keys, D width, H heads. Masks are True where valid, and every row of a
mask has at least one valid key: a softmax over nothing is NaN.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automm.errors import OutOfRange
from automm.extremes import amax

_SHARPNESS = 8.0  # of a softmax over cosines, at the start


class FeedForward(nn.Sequential):
    """Linear, GELU, dropout, Linear: [..., D] -> [..., D]."""

    def __init__(self, dim: int, *, expansion: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(dim, expansion * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(expansion * dim, dim)
        )


class Keys(nn.Sequential):
    """A context's keys and values for `layers` readers, packed: [B, M, D] -> [B, M, layers * 2D].

    They are apart from the queries because a context that its readers do not change is projected once, however many
    rows read it; `layer_share` says where one reader's lie. A head's part of a key has unit length.
    """

    def __init__(self, dim: int, *, heads: int, layers: int = 1) -> None:
        super().__init__(nn.LayerNorm(dim), scaled_linear(dim, layers * 2 * dim))
        self.heads, self.layers = heads, layers

    def forward(self, x_BMD: Tensor) -> Tensor:
        """[B, M, D] -> [B, M, layers * 2D]."""
        return unit_keys(super().forward(x_BMD), heads=self.heads, layers=self.layers)


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, arXiv:1706.03762) over ready keys and values, by cosine.

    Queries are normalised as keys are, and a head's temperature is learned (Henry et al. 2020, arXiv:2010.04245). It
    starts sharp: scaled dot products start almost uniform, where one object among a hundred tokens moves the mean so
    little that finding it takes many epochs.

    Args:
        dim: D.
        heads: H; divides `dim`.
        grid: rows and columns where the tokens that attend to each other tile an image: see `GridBias`.

    Raises:
        OutOfRange: `dim` is not a multiple of `heads`.
    """

    def __init__(self, dim: int, *, heads: int, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        if dim % heads:
            raise OutOfRange(
                f"attention of width {dim} cannot be split into {heads} heads. Next: a width that is a multiple."
            )
        self.heads = heads
        self.query = scaled_linear(dim, dim)
        self.out = scaled_linear(dim, dim)
        self.sharpness_H11 = nn.Parameter(torch.full((heads, 1, 1), _SHARPNESS))
        self.bias = None if grid is None else GridBias(grid, heads=heads)

    def forward(self, query_BND: Tensor, keys_BMP: Tensor, mask_BM: Tensor) -> Tensor:
        """What each query read from keys, of unit length in every head, and values [B, M, 2D]; [B, N, D]."""
        key_BMD, value_BMD = keys_BMP.chunk(2, dim=-1)
        mask = mask_BM[:, None, None, :]
        if self.bias is not None:
            mask = torch.where(mask, self.bias(query_BND.shape[1], key_BMD.shape[1]).to(query_BND.dtype), -math.inf)
        read_BHNd = F.scaled_dot_product_attention(
            self.asked(query_BND), self.split(key_BMD), self.split(value_BMD), attn_mask=mask, scale=1.0
        )
        out_BND: Tensor = self.out(read_BHNd.transpose(1, 2).flatten(2))
        return out_BND

    def asked(self, query_BND: Tensor) -> Tensor:
        """Queries as keys are scored by them, [B, H, N, d]: of unit length, times the head's temperature."""
        return F.normalize(self.split(self.query(query_BND)), dim=-1) * self.sharpness_H11

    def split(self, x_BND: Tensor) -> Tensor:
        """[B, N, D] -> [B, H, N, d], d numbers a head."""
        split_BHNd: Tensor = x_BND.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split_BHNd


class GridBias(nn.Module):
    """What a head adds to the score of a key for where it lies from the query: a number an offset, 0 at the start.

    The relative position bias of Swin (Liu et al. 2021, arXiv:2103.14030), which its second version adds to cosines as
    here (arXiv:2111.09883): how near a thing lies need not be found in products of positions. Tokens before those of
    the grid (a summary) share one number.

    Args:
        grid: rows h and columns w of the tokens, which lie row by row.
        heads: H.
    """

    def __init__(self, grid: tuple[int, int], *, heads: int) -> None:
        super().__init__()
        self.tokens = grid[0] * grid[1]
        self.table_RH = nn.Parameter(torch.zeros(1 + (2 * grid[0] - 1) * (2 * grid[1] - 1), heads))
        self.offsets_NN: Tensor
        self.register_buffer("offsets_NN", grid_offsets(*grid), persistent=False)

    def forward(self, queries: int, keys: int) -> Tensor:
        """The scores of the first `queries` tokens for all `keys`, [H, queries, keys]; the grid's tokens come last."""
        before = keys - self.tokens
        offsets = F.pad(self.offsets_NN, (before, 0, before, 0))[:queries]
        return _SHARPNESS * F.embedding(offsets, self.table_RH).permute(2, 0, 1)


class ReadBlock(nn.Module):
    """A pre-norm block that reads a context: x + attention(norm x, keys), then x + feed-forward(norm x)."""

    def __init__(
        self, dim: int, *, heads: int, dropout: float, expansion: int = 2, grid: tuple[int, int] | None = None
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads=heads, grid=grid)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed = FeedForward(dim, expansion=expansion, dropout=dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, x_BND: Tensor, keys_BMP: Tensor, mask_BM: Tensor) -> Tensor:
        """Queries [B, N, D] and a context's keys and values [B, M, 2D] -> [B, N, D]."""
        return self.after(x_BND, self.attention(self.norm(x_BND), keys_BMP, mask_BM))

    def after(self, x_BND: Tensor, read_BND: Tensor) -> Tensor:
        """Queries [B, N, D] and what they have read -> [B, N, D]."""
        x_BND = x_BND + self.drop(read_BND)
        x_BND = x_BND + self.drop(self.feed(self.feed_norm(x_BND)))
        return x_BND


class SelfBlock(ReadBlock):
    """A pre-norm transformer block: a `ReadBlock` whose context is its own input.

    Args:
        dim: D.
        heads: of attention; divides `dim`.
        dropout: of what is added.
        expansion: of the feed-forward layer.
        grid: rows and columns where the tokens tile an image: see `GridBias`.
        identity: start as the identity, what is added being zero (Goyal et al. 2017, arXiv:1706.02677, section 5.1). A
            token then keeps what is its own until something of the others is worth more, and readers find it sooner.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        dropout: float,
        expansion: int = 2,
        grid: tuple[int, int] | None = None,
        identity: bool = False,
    ) -> None:
        super().__init__(dim, heads=heads, dropout=dropout, expansion=expansion, grid=grid)
        self.keys = scaled_linear(dim, 2 * dim)
        if identity:
            for parameter in (*self.attention.out.parameters(), *self.feed[-1].parameters()):
                nn.init.zeros_(parameter)

    def forward(  # type: ignore[override]
        self, x_BND: Tensor, mask_BN: Tensor, *, first: int | None = None
    ) -> Tensor:
        """[B, N, D] -> [B, N, D]; with `first`, only the first so many tokens ask, and only they are returned."""
        return self.reading(x_BND[:, :first], self.keys_of(x_BND), mask_BN)

    def keys_of(self, x_BND: Tensor) -> Tensor:
        """The keys and values of tokens [B, N, D] -> [B, N, 2D]: of each by itself, so they may be made ahead."""
        return unit_keys(self.keys(self.norm(x_BND)), heads=self.attention.heads)

    def reading(self, x_BND: Tensor, keys_BMP: Tensor, mask_BM: Tensor) -> Tensor:
        """What becomes of those tokens [B, N, D] that ask, given the keys and values [B, M, 2D] of all."""
        return super().forward(x_BND, keys_BMP, mask_BM)


def grid_offsets(height: int, width: int) -> Tensor:
    """The number, from 1, of the offset between every two tokens of a grid, int64 [N, N] with N = height * width."""
    rows_N, columns_N = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    down_NN = rows_N[:, None] - rows_N + height - 1
    across_NN = columns_N[:, None] - columns_N + width - 1
    return 1 + down_NN * (2 * width - 1) + across_NN


def scaled_linear(width: int, out: int) -> nn.Linear:
    """A linear layer whose outputs have unit variance for unit inputs, whatever is packed side by side in `out`."""
    linear = nn.Linear(width, out)
    bound = math.sqrt(3 / width)
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.zeros_(linear.bias)
    return linear


def unit_keys(packed_BMP: Tensor, *, heads: int, layers: int = 1) -> Tensor:
    """Packed keys and values [B, M, layers * 2D] -> the same, each head's part of a key at unit length."""
    parts_BML2Hd = packed_BMP.unflatten(-1, (layers, 2, heads, -1))
    key_BMLHd, value_BMLHd = parts_BML2Hd.unbind(-3)
    return torch.stack([F.normalize(key_BMLHd, dim=-1), value_BMLHd], dim=-3).flatten(-4)


def layer_share(layer: int, dim: int) -> slice:
    """Where one reader's keys and values lie in packed ones: [B, M, layers * 2D] -> [B, M, 2D]."""
    return slice(layer * 2 * dim, (layer + 1) * 2 * dim)


def with_summary(summary_BD: Tensor, tokens_BND: Tensor, mask_BN: Tensor) -> tuple[Tensor, Tensor]:
    """A vector put before its tokens as one more, always valid token: ([B, 1+N, D], [B, 1+N])."""
    x_BND = torch.cat([summary_BD[:, None], tokens_BND], dim=1)
    return x_BND, torch.cat([torch.ones_like(mask_BN[:, :1]), mask_BN], dim=1)


def masked_mean(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """The mean over valid tokens, [B, D]."""
    valid_BN1 = mask_BN[..., None].to(x_BND.dtype)
    return (x_BND * valid_BN1).sum(1) / valid_BN1.sum(1)


def masked_max(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """The maximum over valid tokens, [B, D]."""
    return amax(x_BND.masked_fill(~mask_BN[..., None], -math.inf), 1)
