"""The first few candidates, spread out."""

from __future__ import annotations

import numpy as np

from automm.search.strategies.tree import build, from_unit, values_of, widest_choice
from automm.space import Candidate, OneOf, Param, Space
from automm.types import Scalar


def first(explore: int, budget: int, space: Space) -> int:
    """How many candidates are spread out, the defaults among them: `explore`, but at most two thirds of the budget.

    If the budget lets it, they are as many as the widest choice has values: a family that was never seen cannot win,
    and a model has nothing to say about it. `explore` 0 asks for none.
    """
    if not explore:
        return 1
    path = widest_choice(space)
    param = space.params[path] if path is not None else None
    families = len(param.choices) if isinstance(param, OneOf) else 0
    return max(1, min(explore, 2 * budget // 3), families if families < budget else 0)


class Spread:
    """A Latin hypercube over a conditional space, `count` candidates long (McKay et al., 1979); then it begins anew.

    Every number's scale is cut into `count` strips, and no strip is used twice; the values of a choice take turns. Five
    draws see every value of a choice of four, where five independent draws miss one more often than not. The defaults,
    which every search measures first, are the first of the `count` and have had their turn.
    """

    def __init__(self, space: Space, count: int, rng: np.random.Generator) -> None:
        self._space = space
        self._count = count
        self._rng = rng
        self._decks: dict[str, list[int]] = {}  # what is left of each address's strips or values
        self._measured = {address: value for address, _, value in values_of(space, space.defaults())}

    def draw(self) -> Candidate:
        """The next candidate."""
        return build(self._space, self._pick)

    def _pick(self, address: str, param: Param) -> Scalar:
        deck = self._decks.setdefault(address, [])
        if not deck:
            deck += [int(card) for card in self._rng.permutation(self._count) + self._rng.integers(1 << 16)]
            measured = self._measured.pop(address, None)
            if isinstance(param, OneOf) and param.holds(measured) and len(deck) > 1:
                had = param.choices.index(measured)
                deck.remove(next((card for card in deck if card % len(param.choices) == had), deck[0]))
        if isinstance(param, OneOf):
            return param.choices[deck.pop() % len(param.choices)]
        return from_unit(param, (deck.pop() % self._count + float(self._rng.random())) / self._count)
