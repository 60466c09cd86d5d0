"""The first few candidates, spread out."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from automm.search.strategies.tree import build, from_unit
from automm.space import Candidate, OneOf, Param, Space
from automm.types import Scalar


def first(explore: int, budget: int) -> int:
    """How many candidates are spread out: `explore`, but at most two thirds of the budget."""
    return max(1, min(explore, 2 * budget // 3))


class Spread:
    """A Latin hypercube over a conditional space, `count` candidates long (McKay et al., 1979); then it begins anew.

    Every number's scale is cut into `count` strips, and no strip is used twice; the values of a choice take turns. Five
    draws see every value of a choice of four, where five independent draws miss one more often than not.
    """

    def __init__(self, space: Space, count: int, rng: np.random.Generator) -> None:
        self._space = space
        self._count = count
        self._rng = rng
        self._decks: dict[str, list[int]] = defaultdict(list)  # what is left of each address's strips or values

    def draw(self) -> Candidate:
        """The next candidate."""
        return build(self._space, self._pick)

    def _pick(self, address: str, param: Param) -> Scalar:
        deck = self._decks[address]
        if not deck:
            deck += [int(card) for card in self._rng.permutation(self._count) + self._rng.integers(1 << 16)]
        if isinstance(param, OneOf):
            return param.choices[deck.pop() % len(param.choices)]
        return from_unit(param, (deck.pop() % self._count + float(self._rng.random())) / self._count)
