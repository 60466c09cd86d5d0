"""Nevergrad and a model taking turns, with every trial shared."""

from __future__ import annotations

from automm.search.strategies.nevergrad import Nevergrad
from automm.search.strategies.strategy import Strategy
from automm.search.strategies.surrogate import Surrogate
from automm.space import Candidate, Space


class Portfolio(Strategy):
    """An evolution finds its way around good defaults, a model finds what is far from them: each learns from both.

    The first `explore` candidates are independent draws; then a `Surrogate` and a `Nevergrad` propose in turn.
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        budget: int,
        *,
        optimizer: str = "DiscreteLenglerOnePlusOne",
        explore: int = 5,
    ) -> None:
        super().__init__(space, seed, budget)
        self._turn = 0
        self._members: tuple[Strategy, ...] = (
            Nevergrad(space, seed, budget, optimizer=optimizer, explore=explore),
            Surrogate(space, seed + 1, budget, explore=explore),
        )

    def ask(self) -> Candidate:
        """Whoever's turn it is proposes."""
        self._turn += 1
        return self._members[self._turn % len(self._members)].ask()

    def tell(self, candidate: Candidate, loss: float) -> None:
        """Everybody learns."""
        for member in self._members:
            member.tell(candidate, loss)
