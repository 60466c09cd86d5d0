"""The first few candidates, spread out."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from automm.search.strategies.tree import build, from_unit
from automm.space import Candidate, Param, Space
from automm.types import Scalar


class Spread:
    """A Latin hypercube over a conditional space, `count` candidates long (McKay et al., 1979); then it begins anew.

    Every parameter's scale is cut into `count` strips, and no strip is used twice: five draws see at least four values
    of a choice of four, where five independent draws miss one more often than not.
    """

    def __init__(self, space: Space, count: int, rng: np.random.Generator) -> None:
        self._space = space
        self._count = count
        self._rng = rng
        self._strips: dict[str, list[int]] = defaultdict(list)  # those that are left, by address

    def draw(self) -> Candidate:
        """The next candidate."""
        return build(self._space, self._pick)

    def _pick(self, address: str, param: Param) -> Scalar:
        if not self._strips[address]:
            self._strips[address] = [int(strip) for strip in self._rng.permutation(self._count)]
        return from_unit(param, (self._strips[address].pop() + float(self._rng.random())) / self._count)
