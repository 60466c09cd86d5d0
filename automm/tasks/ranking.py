"""How queries rank candidates, and what that is worth: hits, precision, gain and reciprocal ranks.

Shape legend: Q queries, C candidates, P pairs of a query and a candidate that is right for it, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from automm.runtime.nearest import BLOCK_BYTES, blocks, unit

CUTS = (1, 5, 10)  # what recall and precision are given at
GAIN_AT = 10
TEMPERATURE = 0.07  # where CLIP's begins: a loss that compares models needs one for all
_TIE = 1e-6  # cosines as near as that are equal: blocks of a product are rounded differently


@dataclass(frozen=True)
class Pairs:
    """Who belongs to whom, sorted by query and without repetition. Every query has a pair."""

    query_P: np.ndarray  # int64
    candidate_P: np.ndarray  # int64

    @classmethod
    def of(cls, query_P: np.ndarray, candidate_P: np.ndarray) -> Pairs:
        """From pairs in any order, some of them several times."""
        both_P2 = np.unique(np.stack([query_P, candidate_P], axis=1), axis=0)
        return cls(both_P2[:, 0], both_P2[:, 1])


@dataclass(frozen=True)
class Ranking:
    """What every query made of the candidates."""

    pairs: Pairs
    rank_P: np.ndarray  # int64, from 1: where the pair's candidate stands in the query's list
    best_Q: np.ndarray  # int64: the candidate that is most like the query
    loss_Q: np.ndarray  # float64: minus the log of what a right candidate gets against all wrong ones, on average

    @classmethod
    def of(
        cls, queries_QD: np.ndarray, candidates_CD: np.ndarray, pairs: Pairs, *, block_bytes: int = BLOCK_BYTES
    ) -> Ranking:
        """Rank all candidates for every query by the product of their vectors, unit vectors both.

        Whatever is wrong comes before what is right where both are equally like the query: a model that says nothing
        gets nothing. Similarities are held for some queries at a time, `block_bytes` of them.
        """
        rank_P = np.zeros(len(pairs.query_P), np.int64)
        best_Q = np.zeros(len(queries_QD), np.int64)
        loss_P = np.zeros(len(pairs.query_P))
        for rows, cosine_BC in blocks(queries_QD, candidates_CD, block_bytes=block_bytes):
            best_Q[rows] = cosine_BC.argmax(axis=1)
            span = slice(*np.searchsorted(pairs.query_P, [rows.start, rows.stop]))
            own_P, candidate_P = pairs.query_P[span] - rows.start, pairs.candidate_P[span]
            right_P = cosine_BC[own_P, candidate_P]
            cosine_BC[own_P, candidate_P] = -np.inf  # what is left is wrong
            wrong_P = _at_least(cosine_BC, own_P, right_P - _TIE)
            rank_P[span] = wrong_P + _places(own_P, right_P)
            loss_P[span] = np.logaddexp(0.0, _log_sum(cosine_BC)[own_P] - right_P / TEMPERATURE)
        return cls(pairs, rank_P, best_Q, _mean_by(pairs.query_P, loss_P, len(queries_QD)))

    @property
    def first(self) -> np.ndarray:
        """int64 [Q], from 1: where the first right candidate of each query stands."""
        out_Q: np.ndarray = np.minimum.reduceat(self.rank_P, np.searchsorted(self.pairs.query_P, np.arange(self._n)))
        return out_Q

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Every metric of each query, float64 [Q].

        `recall@K`: whether one of the first K is right. `precision@K`: the share of the first K that is. `mrr`: one
        over the rank of the first right one. `ndcg@10`: the discounted gain of the first ten, over the best that could
        be. `loss`: the contrastive loss among all candidates at the temperature 0.07.
        """
        first_Q = self.first
        recall = {f"recall@{k}": (first_Q <= k).astype(np.float64) for k in CUTS}
        precision = {f"precision@{k}": self._summed((self.rank_P <= k) / k) for k in CUTS}
        gain_P = np.where(self.rank_P <= GAIN_AT, 1 / np.log2(self.rank_P + 1), 0.0)
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(GAIN_AT) + 2))])
        ideal_Q = ideal[np.minimum(np.bincount(self.pairs.query_P, minlength=self._n), GAIN_AT)]
        gain = {f"ndcg@{GAIN_AT}": self._summed(gain_P) / ideal_Q}
        return {**recall, **precision, **gain, "mrr": 1 / first_Q, "loss": self.loss_Q}

    @property
    def _n(self) -> int:
        return len(self.best_Q)

    def _summed(self, value_P: np.ndarray) -> np.ndarray:
        return np.bincount(self.pairs.query_P, weights=value_P, minlength=self._n)


def _at_least(cosine_BC: np.ndarray, own_P: np.ndarray, bound_P: np.ndarray) -> np.ndarray:
    """int64 [P]: how many candidates of its query are like it by `bound` or more; some pairs at a time."""
    out_P = np.zeros(len(own_P), np.int64)
    for start in range(0, len(own_P), len(cosine_BC)):
        at = slice(start, start + len(cosine_BC))
        out_P[at] = (cosine_BC[own_P[at]] >= bound_P[at, None]).sum(axis=1)
    return out_P


def _places(query_P: np.ndarray, right_P: np.ndarray) -> np.ndarray:
    """int64 [P] from 1: each pair's place among the right ones of its query, the most alike first."""
    order_P = np.lexsort((-right_P, query_P))
    out_P = np.empty(len(query_P), np.int64)
    out_P[order_P] = np.arange(len(query_P)) - np.searchsorted(query_P, query_P) + 1  # `query_P` is sorted
    return out_P


def _log_sum(cosine_BC: np.ndarray) -> np.ndarray:
    """float64 [B]: the logarithm of the sum of exp(cosine / temperature); cosines of -inf count nothing."""
    total_B = np.exp((cosine_BC - 1) / TEMPERATURE).sum(axis=1, dtype=np.float64)
    with np.errstate(divide="ignore"):  # none is wrong: minus infinity
        out_B: np.ndarray = np.log(total_B) + 1 / TEMPERATURE
    return out_B


def _mean_by(query_P: np.ndarray, value_P: np.ndarray, queries: int) -> np.ndarray:
    total_Q = np.bincount(query_P, weights=value_P, minlength=queries)
    return total_Q / np.bincount(query_P, minlength=queries)


def chance(rows: int, *, width: int = 32) -> np.ndarray:
    """Two unit vectors a row that know nothing of it, side by side, float32 [rows, 2 width]; always the same."""
    random = np.random.default_rng(0)
    return np.concatenate([unit(random.standard_normal((rows, width))) for _ in range(2)], axis=1)
