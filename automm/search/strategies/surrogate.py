"""A Gaussian process over conditional candidates: small, exact, and at its best with tens of trials.

Legend: N known candidates, P proposed ones, E the width of the embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from automm.search.strategies.design import Spread, first
from automm.search.strategies.random import draw
from automm.search.strategies.strategy import Strategy, key_of
from automm.search.strategies.tree import addresses, build, from_unit, to_unit, values_of
from automm.space import Candidate, OneOf, Param, Space
from automm.types import Scalar

_DRAWN, _PARENTS, _NEAR = 100, 5, 25  # the pool: independent draws, and so many variations of each of the best
_STEPS = (0.05, 0.15, 0.3)  # how far a variation moves a number, on its unit scale
_SCALES = (0.05, 0.15, 0.5, 1.5)  # squared length scales tried
_NOISES = (0.001, 0.01)  # noise variances tried, relative to the signal's
_OTHER_CHOICE = 0.6  # distance of two choices is sqrt(2) times this
_ACTIVE = 0.2  # distance of an active parameter from an inactive one, at the middle of its range


class Surrogate(Strategy):
    """Proposes where a Gaussian process fitted to the losses' ranks expects the most improvement.

    A candidate is embedded so that inactive parameters stand at a neutral point (after Swersky et al., "Raiders of the
    Lost Architecture", 2013); losses enter by rank, so that a failure, or a loss ten times the others', does not bend
    the rest. Expected improvement over the model's own best (Jones et al., 1998), which noise cannot flatter.

    Args:
        space: what to search.
        seed: of every draw.
        budget: how many candidates will be asked for.
        explore: candidates that are spread out before the model proposes; at most 2/3 of the budget.
    """

    def __init__(self, space: Space, seed: int, budget: int, *, explore: int = 8) -> None:
        super().__init__(space, seed, budget)
        self._explore = max(first(explore, budget, space), 2)
        self._rng = np.random.default_rng(seed)
        self._spread = Spread(space, self._explore, self._rng)
        self._embedding = _Embedding(space)
        self._known: dict[str, tuple[Candidate, float]] = {}
        self._points: dict[str, np.ndarray] = {}

    def tell(self, candidate: Candidate, loss: float) -> None:
        """Learn a loss, or a better estimate of one."""
        key = key_of(candidate)
        self._known[key] = (candidate, loss)
        if key not in self._points:
            self._points[key] = self._embedding.of(candidate)

    def ask(self) -> Candidate:
        """The most promising of a few hundred candidates: draws, and variations of the best."""
        if len(self._known) < self._explore or not self._embedding.width:
            return self._spread.draw()
        ranked = [candidate for candidate, _ in sorted(self._known.values(), key=lambda known: known[1])]
        pool = [draw(self.space, self._rng) for _ in range(_DRAWN)]
        pool += [self._vary(parent) for parent in ranked[:_PARENTS] for _ in range(_NEAR)]
        fresh = [candidate for candidate in pool if key_of(candidate) not in self._known]
        if not fresh:
            return pool[0]
        known_NE = np.array([self._points[key] for key in self._known])
        model = _fit(known_NE, _scores([loss for _, loss in self._known.values()]))
        gain_P = model.improvement(np.array([self._embedding.of(candidate) for candidate in fresh]))
        return fresh[int(np.argmax(np.round(gain_P / gain_P.max(), 9)))]  # the last digits differ between machines

    def _vary(self, parent: Candidate) -> Candidate:
        """A candidate that differs from its parent in one to three parameters, and in what they make active."""
        values = {address: value for address, _, value in values_of(self.space, parent)}
        changed = self._rng.choice(len(values), size=min(int(self._rng.integers(1, 4)), len(values)), replace=False)
        moved = {list(values)[at] for at in changed}
        step = float(self._rng.choice(_STEPS))

        def pick(address: str, param: Param) -> Scalar:
            if address in values and address not in moved:
                return values[address]
            if address in values and not _unordered(param) and self._rng.random() < 0.8:
                unit = to_unit(param, values[address]) + step * float(self._rng.normal())
                return from_unit(param, min(max(unit, 0.0), 1.0))
            return from_unit(param, float(self._rng.random()))

        return build(self.space, pick)


class _Embedding:
    """Candidates as points: numbers and ordered choices as (where on the scale, active), other choices one-hot."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._at: dict[str, int] = {}
        self.width = 0
        for address, param in addresses(space):
            self._at[address] = self.width
            self.width += len(param.choices) if isinstance(param, OneOf) and _unordered(param) else 2

    def of(self, candidate: Candidate) -> np.ndarray:
        """float64 [E]; an inactive parameter is all zeros."""
        out_E = np.zeros(self.width)
        for address, param, value in values_of(self._space, candidate):
            at = self._at[address]
            if isinstance(param, OneOf) and _unordered(param):
                out_E[at + int(to_unit(param, value) * len(param.choices))] = _OTHER_CHOICE
            else:
                out_E[at : at + 2] = to_unit(param, value) - 0.5, _ACTIVE
        return out_E


@dataclass(frozen=True)
class _Model:
    """A Gaussian process given what is known."""

    known_NE: np.ndarray
    factor_NN: np.ndarray  # Cholesky factor of kernel + noise
    weights_N: np.ndarray  # (kernel + noise)^-1 y
    scale: float
    variance: float
    likelihood: float

    def improvement(self, pool_PE: np.ndarray) -> np.ndarray:
        """Expected improvement, [P], over the lowest mean at a known candidate."""
        kernel_PN = _kernel(pool_PE, self.known_NE, self.scale)
        best = float((_kernel(self.known_NE, self.known_NE, self.scale) @ self.weights_N).min())
        gain_P = best - kernel_PN @ self.weights_N
        left_P = 1.0 - (np.linalg.solve(self.factor_NN, kernel_PN.T) ** 2).sum(0)
        sigma_P = np.sqrt(np.maximum(self.variance * left_P, 1e-9))
        normal = NormalDist()
        cdf_P = np.array([normal.cdf(z) for z in gain_P / sigma_P])
        pdf_P = np.array([normal.pdf(z) for z in gain_P / sigma_P])
        return np.asarray(gain_P * cdf_P + sigma_P * pdf_P)


def _fit(known_NE: np.ndarray, scores_N: np.ndarray) -> _Model:
    """The most likely model of a few length scales and noises, under a mild preference for a middling scale."""
    models = [_given(known_NE, scores_N, scale, noise) for scale in _SCALES for noise in _NOISES]
    return max(models, key=lambda model: model.likelihood - 0.25 * math.log(model.scale / 0.4) ** 2)


def _given(known_NE: np.ndarray, scores_N: np.ndarray, scale: float, noise: float) -> _Model:
    count = len(scores_N)
    factor_NN = np.linalg.cholesky(_kernel(known_NE, known_NE, scale) + noise * np.eye(count))
    weights_N = np.linalg.solve(factor_NN.T, np.linalg.solve(factor_NN, scores_N))
    variance = max(float(scores_N @ weights_N) / count, 1e-6)
    likelihood = -count / 2 * math.log(variance) - float(np.log(np.diag(factor_NN)).sum())
    return _Model(known_NE, factor_NN, weights_N, scale, variance, likelihood)


def _kernel(left_PE: np.ndarray, right_NE: np.ndarray, scale: float) -> np.ndarray:
    squared_PN = (left_PE**2).sum(1)[:, None] + (right_NE**2).sum(1)[None] - 2 * left_PE @ right_NE.T
    return np.asarray(np.exp(-np.maximum(squared_PN, 0.0) / scale / 2))


def _scores(losses: list[float]) -> np.ndarray:
    """Losses by rank, as quantiles of a normal; equal losses share their rank."""
    losses_N = np.array(losses)
    ranks = [(losses_N < loss).sum() + ((losses_N == loss).sum() - 1) / 2 for loss in losses_N]
    return np.array([NormalDist().inv_cdf((rank + 0.5) / len(losses)) for rank in ranks])


def _unordered(param: Param) -> bool:
    return isinstance(param, OneOf) and not param.ordered
