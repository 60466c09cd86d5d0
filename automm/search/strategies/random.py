"""Independent uniform draws (log-uniform on log ranges): the yardstick of every other strategy."""

from __future__ import annotations

import numpy as np

from automm.search.strategies.strategy import Strategy
from automm.search.strategies.tree import build, from_unit
from automm.space import Candidate, Space


class Random(Strategy):
    """Every parameter drawn on its own, on its own scale. Bergstra & Bengio, JMLR 2012."""

    def __init__(self, space: Space, seed: int, budget: int) -> None:
        super().__init__(space, seed, budget)
        self._rng = np.random.default_rng(seed)

    def ask(self) -> Candidate:
        """A fresh draw."""
        return draw(self.space, self._rng)

    def tell(self, candidate: Candidate, loss: float) -> None:
        """Nothing is learnt."""


def draw(space: Space, rng: np.random.Generator) -> Candidate:
    """One candidate, uniform along every active parameter's own scale."""
    return build(space, lambda _address, param: from_unit(param, float(rng.random())))
