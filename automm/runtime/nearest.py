"""Vectors compared with vectors by cosine, in blocks: similarities of all with all are never held at once.

Shape legend: Q queries, C candidates, D width, K neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BLOCK_BYTES = 64 << 20  # of similarities held at a time


class Nearest(NamedTuple):
    """The best candidates of every query, best first."""

    index_QK: np.ndarray  # int64: numbers of candidates
    score_QK: np.ndarray  # float32: cosines, -1 .. 1


def nearest(queries_QD: np.ndarray, candidates_CD: np.ndarray, k: int) -> Nearest:
    """The `k` candidates most like each query, fewer where there are no more; of equals the lower number comes first.

    (Where more than fit are equal to the last, which of them are taken is arbitrary, though always the same.)
    """
    k = min(k, len(candidates_CD))
    index_QK = np.zeros((len(queries_QD), k), np.int64)
    score_QK = np.zeros((len(queries_QD), k), np.float32)
    for rows, cosine_BC in blocks(unit(queries_QD), unit(candidates_CD)):
        best_BK = np.argpartition(-cosine_BC, k - 1, axis=1)[:, :k] if k else index_QK[rows]
        score_BK = np.take_along_axis(cosine_BC, best_BK, axis=1)
        order_BK = np.lexsort((best_BK, -score_BK), axis=1)
        index_QK[rows] = np.take_along_axis(best_BK, order_BK, axis=1)
        score_QK[rows] = np.take_along_axis(score_BK, order_BK, axis=1)
    return Nearest(index_QK, score_QK)


def blocks(
    queries_QD: np.ndarray, candidates_CD: np.ndarray, *, block_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[slice, np.ndarray]]:
    """Some queries at a time: which, and their products with every candidate, float32 [B, C]."""
    rows = max(1, block_bytes // max(4 * len(candidates_CD), 1))
    for start in range(0, len(queries_QD), rows):
        at = slice(start, min(start + rows, len(queries_QD)))
        yield at, queries_QD[at] @ candidates_CD.T


def unit(x_ND: np.ndarray) -> np.ndarray:
    """Every vector divided by its length, float32; zeros stay zeros."""
    length_N1 = np.linalg.norm(x_ND, axis=1, keepdims=True)
    out_ND: np.ndarray = (x_ND / np.maximum(length_N1, np.finfo(np.float32).tiny)).astype(np.float32)
    return out_ND
