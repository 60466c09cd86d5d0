"""Nevergrad by ask and tell: the only file that knows nevergrad."""

from __future__ import annotations

import warnings
from typing import Any

import nevergrad as ng
import numpy as np

from automm.errors import UnknownComponent, near_miss
from automm.search.strategies.random import draw
from automm.search.strategies.strategy import Strategy, key_of
from automm.search.strategies.tree import addresses, build, values_of
from automm.space import Candidate, Float, OneOf, Param, Space
from automm.types import Scalar

# Optimizers that take a foreign candidate, draw from the parametrization's random state alone and leave no thread
# behind. Not on the list for a reason: NelderMead, Cobyla, Powell and SQP run in threads that hang (NGOpt may pick
# Cobyla), the lognormal family draws from numpy's global state, BO needs minutes for 60 points.
OPTIMIZERS = (
    "DiscreteLenglerOnePlusOne",
    "DoubleFastGADiscreteOnePlusOne",
    "PortfolioDiscreteOnePlusOne",
    "RecombiningPortfolioDiscreteOnePlusOne",
    "OnePlusOne",
    "DE",
    "TwoPointsDE",
)


class Nevergrad(Strategy):
    """An evolution by nevergrad that also learns from what it didn't propose.

    The first `explore` candidates are independent draws, so that an evolution that starts at the defaults isn't caught
    beside a bad one; it then goes on from the best of all. Choices are deterministic (as shipped they are drawn anew at
    every look, and a quarter of the proposals repeat), ordered ones move to neighbours.

    A loss that is told again with another value (see `Strategy.tell`) makes the optimizer be built anew from all that
    is known, which is what nevergrad offers for taking something back.
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
        if optimizer not in OPTIMIZERS:
            raise UnknownComponent(
                f"no nevergrad optimizer {optimizer!r} that automm vouches for. {near_miss(optimizer, OPTIMIZERS)}"
            )
        self._name = optimizer
        self._explore = explore
        self._rng = np.random.default_rng(seed)
        self._params = dict(addresses(space))
        self._tree = ng.p.Dict(**{address: _parameter(param) for address, param in self._params.items()})
        self._tree.random_state = np.random.RandomState(seed)
        self._asked: dict[str, ng.p.Parameter] = {}
        self._values: dict[str, dict[str, Any]] = {}  # what nevergrad calls each told candidate
        self._losses: dict[str, float] = {}
        self._optimizer = self._fresh()

    def ask(self) -> Candidate:
        """The next candidate."""
        if len(self._losses) < self._explore or not self._params:
            return draw(self.space, self._rng)
        if self._optimizer is None:
            self._rebuild()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nevergrad warns of what it does to itself
            point = self._optimizer.ask()
        candidate = build(self.space, lambda address, param: _value(param, point.value[address]))
        self._asked[key_of(candidate)] = point
        return candidate

    def tell(self, candidate: Candidate, loss: float) -> None:
        """Learn a loss, or a better estimate of one."""
        key = key_of(candidate)
        point = self._asked.pop(key, None)
        revised = self._losses.get(key, loss) != loss
        self._losses[key] = loss
        if key not in self._values:
            self._values[key] = self._named(candidate) if point is None else dict(point.value)
        if revised:
            self._optimizer = None
        elif self._optimizer is not None and point is not None:
            self._optimizer.tell(point, loss)
        elif self._optimizer is not None:
            self._teach(self._values[key], loss)

    def _fresh(self) -> Any:
        return ng.optimizers.registry[self._name](self._tree, budget=self.budget, num_workers=1)

    def _rebuild(self) -> None:
        self._optimizer = self._fresh()
        for key, values in self._values.items():
            self._teach(values, self._losses[key])

    def _teach(self, values: dict[str, Any], loss: float) -> None:
        self._optimizer.suggest(values)
        self._optimizer.tell(self._optimizer.ask(), loss)

    def _named(self, candidate: Candidate) -> dict[str, Any]:
        """A candidate by nevergrad's names; what is not active in it stands at its default."""
        values = {address: _code(param, param.start) for address, param in self._params.items()}
        return values | {address: _code(param, value) for address, param, value in values_of(self.space, candidate)}


def _parameter(param: Param) -> ng.p.Parameter:
    if isinstance(param, OneOf):
        indices = list(range(len(param.choices)))
        return ng.p.TransitionChoice(indices) if param.ordered else ng.p.Choice(indices, deterministic=True)
    kind = ng.p.Log if param.log else ng.p.Scalar
    number = kind(init=param.start, lower=param.low, upper=param.high)
    return number if isinstance(param, Float) else number.set_integer_casting()


def _code(param: Param, value: Scalar) -> Any:
    """What nevergrad calls a value: choices go by their index."""
    if not isinstance(param, OneOf):
        return value
    return next(at for at, choice in enumerate(param.choices) if OneOf((choice,)).holds(value))


def _value(param: Param, code: Any) -> Scalar:
    if isinstance(param, OneOf):
        return param.choices[int(code)]
    number = min(max(code, param.low), param.high)
    return float(number) if isinstance(param, Float) else round(number)
