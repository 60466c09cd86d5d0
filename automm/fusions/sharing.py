"""Rows that share an item read its keys together: twenty questions of one image are twenty queries of one attention.

Shape legend: B rows, U distinct items, S queries of a row, M keys, D width, Q the most rows of an item, H heads,
d = D / H.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from automm.fusions.attention import Attention

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
        read: Tensor = block(self.together(x_BSD), self.keys[..., share], self.mask)
        return self.apart(read, x_BSD.shape[1])

    def together(self, x_BSD: Tensor) -> Tensor:
        """What rows ask of the items they share, those of an item side by side: [B, S, D] -> [U, Q * S, D]."""
        if self.slots is None:
            return x_BSD
        places = x_BSD.new_zeros(self.places, *x_BSD.shape[1:]).index_copy(0, self.slots, x_BSD)
        return places.reshape(len(self.keys), -1, x_BSD.shape[-1])

    def apart(self, x_UPD: Tensor, queries: int) -> Tensor:
        """The inverse: [U, Q * S, D] -> [B, S, D] with S `queries` a row."""
        if self.slots is None:
            return x_UPD
        return x_UPD.reshape(self.places, queries, x_UPD.shape[-1]).index_select(0, self.slots)


def read_as_one(attention: Attention, query_BSD: Tensor, contexts: Sequence[Context]) -> Tensor:
    """What an `Attention` reads of several contexts as of one that holds all their keys, [B, S, D].

    Rows share the items of each context in their own way: scores and weights are exchanged between rows and items,
    a number a key and head, where joining the keys would copy all their numbers for every row.

    Args:
        attention: without a bias.
        query_BSD: what the rows ask.
        contexts: whose keys are packed for this reader alone; every row has one valid key among them.
    """
    queries = query_BSD.shape[1]
    asked_BSD = attention.asked(query_BSD).transpose(1, 2).flatten(2)
    scores = [context.apart(_scores(attention, asked_BSD, context), queries) for context in contexts]
    weights = torch.cat([each.unflatten(-1, (attention.heads, -1)) for each in scores], dim=-1).softmax(-1)
    read_BSD = torch.zeros_like(asked_BSD)
    for context, weight_BSHM in zip(contexts, weights.split([c.keys.shape[1] for c in contexts], -1), strict=True):
        weight_UHPM = attention.split(context.together(weight_BSHM.flatten(2)))
        read_UHPd = weight_UHPM @ attention.split(context.keys.chunk(2, dim=-1)[1])
        read_BSD = read_BSD + context.apart(read_UHPd.transpose(1, 2).flatten(2), queries)
    out_BSD: Tensor = attention.out(read_BSD)
    return out_BSD


def _scores(attention: Attention, asked_BSD: Tensor, context: Context) -> Tensor:
    """What each head thinks of each key, -inf where it is no valid one: [U, Q * S, H * M]."""
    asked_UHPd, key_UHMd = attention.split(context.together(asked_BSD)), attention.split(context.keys.chunk(2, -1)[0])
    scores_UHPM = asked_UHPd @ key_UHMd.transpose(-1, -2)
    return scores_UHPM.masked_fill(~context.mask[:, None, None, :], -math.inf).transpose(1, 2).flatten(2)
