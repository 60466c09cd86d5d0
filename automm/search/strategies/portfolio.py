"""Nevergrad and a model taking turns, with every trial shared."""

from __future__ import annotations

import numpy as np

from automm.search.strategies.design import Spread, first
from automm.search.strategies.nevergrad import Nevergrad
from automm.search.strategies.strategy import Strategy
from automm.search.strategies.surrogate import Surrogate
from automm.space import Candidate, Space


class Portfolio(Strategy):
    """An evolution finds its way around good defaults, a model finds what is far from them: each learns from both.

    The first `explore` candidates are spread out; then a `Surrogate` has two turns in three, a `Nevergrad` the third.

    Args:
        space: what to search.
        seed: of every draw.
        budget: how many candidates will be asked for.
        optimizer: of the evolution, by nevergrad's name; one of those that automm vouches for.
        explore: candidates that are spread out first, the defaults among them; at most 2/3 of the budget, but one for
            every value of the widest choice where the budget is larger than that.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        budget: int,
        *,
        optimizer: str = "DiscreteLenglerOnePlusOne",
        explore: int = 8,
    ) -> None:
        super().__init__(space, seed, budget)
        self._explore = first(explore, budget, space)
        self._spread = Spread(space, self._explore, np.random.default_rng(seed))
        self._asked = 0
        self._evolution = Nevergrad(space, seed, budget, optimizer=optimizer, explore=0)
        self._model = Surrogate(space, seed + 1, budget, explore=0)

    def ask(self) -> Candidate:
        """Whoever's turn it is proposes."""
        self._asked += 1
        if self._asked < self._explore:  # the defaults are the first candidate
            return self._spread.draw()
        return (self._evolution if self._asked % 3 == 0 else self._model).ask()

    def tell(self, candidate: Candidate, loss: float) -> None:
        """Everybody learns."""
        self._evolution.tell(candidate, loss)
        self._model.tell(candidate, loss)
