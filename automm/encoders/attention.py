"""The pre-norm attention block of the encoders trained from scratch.

Shape legend: U distinct items, N queries, M keys, D width, H heads. Masks are True where valid.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from automm.errors import OutOfRange


class Attention(nn.Module):
    """Multi-head scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762).

    Raises:
        OutOfRange: `width` is not a multiple of `heads`.
    """

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise OutOfRange(f"a width of {width} cannot be split into {heads} heads. Next: a multiple of {heads}.")
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        for linear in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, query_UND: Tensor, context_UMD: Tensor, mask_UM: Tensor | None) -> Tensor:
        """What each query read of the context, [U, N, D]."""
        read_UHNd = F.scaled_dot_product_attention(
            self._split(self.query(query_UND)),
            self._split(self.key(context_UMD)),
            self._split(self.value(context_UMD)),
            attn_mask=None if mask_UM is None else mask_UM[:, None, None, :],
        )
        read_UND: Tensor = self.out(read_UHNd.transpose(1, 2).flatten(2))
        return read_UND

    def _split(self, x_UND: Tensor) -> Tensor:
        split_UNHd: Tensor = x_UND.unflatten(-1, (self.heads, -1))
        return split_UNHd.transpose(1, 2)


class AttentionBlock(nn.Module):
    """x + attention(norm x, context), then x + feed-forward(norm x); without a context, x attends to itself."""

    def __init__(self, width: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads=heads)
        self.feed = nn.Sequential(
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
            nn.Dropout(dropout),
        )
        self.drop = nn.Dropout(dropout)

    def forward(self, x_UND: Tensor, mask_UM: Tensor | None = None, context_UMD: Tensor | None = None) -> Tensor:
        """[U, N, D] -> [U, N, D]; `mask_UM` marks the valid keys (of x itself where there is no context)."""
        normed_UND = self.norm(x_UND)
        keys_UMD = normed_UND if context_UMD is None else context_UMD
        x_UND = x_UND + self.drop(self.attention(normed_UND, keys_UMD, mask_UM))
        fed_UND: Tensor = self.feed(self.feed_norm(x_UND))
        return x_UND + fed_UND


def masked_mean(x_UND: Tensor, mask_UN: Tensor) -> Tensor:
    """The mean over valid tokens, [U, D]; every item has one at least."""
    return weighted_mean(x_UND, mask_UN.to(x_UND.dtype))


def weighted_mean(x_UND: Tensor, weight_UN: Tensor) -> Tensor:
    """The mean over tokens by weight, [U, D]; the weights of no item are all zero."""
    return (x_UND * weight_UN[..., None]).sum(1) / weight_UN.sum(1, keepdim=True)
