"""Rows that share an item read its keys together: twenty questions of one image are twenty queries of one attention.

Shape legend: B rows, U distinct items, S queries of a row, M keys, D width, Q the most rows of an item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

_WASTE = 2  # fold while padding to Q rows an item costs at most this many times the rows there are


@dataclass(frozen=True)
class Context:
    """Keys and values that rows read: of the rows themselves (no `slots`), or of the items they share."""

    keys: Tensor  # [U, M, P], packed for one reader or several
    mask: Tensor  # [U, M]
    slots: Tensor | None = None  # [B]: where a row stands among U * Q places
    places: int = 0  # U * Q

    @classmethod
    def shared(cls, keys_UMP: Tensor, mask_UM: Tensor, rows_B: Tensor) -> Self:
        """The context of `rows_B`, which say the item each row takes; expanded where sharing is too uneven to pay."""
        items = len(keys_UMP)
        count_U = torch.bincount(rows_B, minlength=items)
        most = int(count_U.max())
        if most == 1 or items * most > _WASTE * len(rows_B):
            return cls(keys_UMP.index_select(0, rows_B), mask_UM.index_select(0, rows_B))
        order_B = torch.argsort(rows_B, stable=True)
        sorted_B = rows_B[order_B]
        start_U = count_U.cumsum(0) - count_U
        rank_B = torch.arange(len(rows_B), device=rows_B.device) - start_U[sorted_B]
        slots_B = torch.empty_like(rows_B).index_copy(0, order_B, sorted_B * most + rank_B)
        return cls(keys_UMP, mask_UM, slots_B, items * most)

    def read(self, block: nn.Module, x_BSD: Tensor, share: slice = slice(None)) -> Tensor:
        """What a `ReadBlock` makes of the queries [B, S, D] with its `share` of the packed keys and values."""
        keys_UMP = self.keys[..., share]
        if self.slots is None:
            out_BSD: Tensor = block(x_BSD, keys_UMP, self.mask)
            return out_BSD
        queries, width = x_BSD.shape[1:]
        places = x_BSD.new_zeros(self.places, queries, width).index_copy(0, self.slots, x_BSD)
        read: Tensor = block(places.reshape(len(keys_UMP), -1, width), keys_UMP, self.mask)
        return read.reshape(self.places, queries, width).index_select(0, self.slots)
