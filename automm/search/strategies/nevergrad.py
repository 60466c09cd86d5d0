"""Nevergrad by ask and tell: the only file that knows nevergrad.

It takes seconds to import, and no search needs it before its first candidates have been measured.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from automm.errors import UnknownComponent, near_miss
from automm.search.strategies.design import Spread, first
from automm.search.strategies.strategy import Strategy, key_of
from automm.search.strategies.tree import addresses, build, from_unit, to_unit, values_of
from automm.space import Candidate, OneOf, Param, Space
from automm.types import Scalar

if TYPE_CHECKING:
    import nevergrad as ng

if find_spec("nevergrad") is None:
    raise ModuleNotFoundError("No module named 'nevergrad'", name="nevergrad")

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
_MUTATE_THE_BEST = OPTIMIZERS[:3]


class Nevergrad(Strategy):
    """An evolution by nevergrad that also learns from what it didn't propose.

    The first `explore` candidates are spread out, so that an evolution that starts at the defaults isn't caught beside
    a bad one; it then goes on from the best of all. Choices are deterministic (as shipped they are drawn anew at every
    look, and a quarter of the proposals repeat), ordered ones move to neighbours.

    A loss that is told again with another value (see `Strategy.tell`) makes the optimizer be built anew from all that
    is known, which is what nevergrad offers for taking something back. It takes tens of milliseconds a candidate, and
    those that do nothing but mutate the best, more or less by how much is known, are told these two things alone.

    Args:
        space: what to search.
        seed: of every draw.
        budget: how many candidates will be asked for.
        optimizer: by nevergrad's name; one of those that automm vouches for.
        explore: candidates that are spread out before it starts, the defaults among them; at most 2/3 of the budget.
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
        if optimizer not in OPTIMIZERS:
            raise UnknownComponent(
                f"no nevergrad optimizer {optimizer!r} that automm vouches for. {near_miss(optimizer, OPTIMIZERS)}"
            )
        self._name = optimizer
        self._explore = first(explore, budget, space)
        self._spread = Spread(space, self._explore, np.random.default_rng(seed))
        self._params = dict(addresses(space))
        self._asked: dict[str, ng.p.Parameter] = {}
        self._values: dict[str, dict[str, Any]] = {}  # what nevergrad calls each told candidate
        self._losses: dict[str, float] = {}
        self._optimizer: Any = None  # built when it is needed, from all that is known
        self._aimed = ""  # the candidate that it mutates, where that is all it knows

    def ask(self) -> Candidate:
        """The next candidate."""
        if len(self._losses) < self._explore or not self._params:
            return self._spread.draw()
        if self._name in _MUTATE_THE_BEST:
            self._aim()
        elif self._optimizer is None:
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
        if self._name in _MUTATE_THE_BEST:
            return
        if revised:
            self._optimizer = None
        elif self._optimizer is not None and point is not None:
            self._optimizer.tell(point, loss)
        elif self._optimizer is not None:
            self._teach(self._values[key], loss)

    @cached_property
    def _tree(self) -> ng.p.Dict:
        import nevergrad as ng

        tree = ng.p.Dict(**{address: _parameter(param) for address, param in self._params.items()})
        tree.random_state = np.random.RandomState(self.seed)
        return tree

    def _aim(self) -> None:
        """Let the optimizer mutate the best of what is known."""
        best = min(self._losses, key=self._losses.__getitem__)
        if self._aimed != best:
            self._optimizer, self._aimed = self._made(), best
            self._teach(self._values[best], self._losses[best])
        self._optimizer._num_ask = len(self._losses)  # its clock

    def _made(self) -> Any:
        import nevergrad as ng

        return ng.optimizers.registry[self._name](self._tree, budget=self.budget, num_workers=1)

    def _rebuild(self) -> None:
        self._optimizer = self._made()
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
    """Numbers go by where they lie on their own scale, log or not; choices by their index."""
    import nevergrad as ng

    if isinstance(param, OneOf):
        indices = list(range(len(param.choices)))
        return ng.p.TransitionChoice(indices) if param.ordered else ng.p.Choice(indices, deterministic=True)
    return ng.p.Scalar(init=to_unit(param, param.start), lower=0.0, upper=1.0)


def _code(param: Param, value: Scalar) -> int | float:
    if isinstance(param, OneOf):
        return param.place(value)
    return to_unit(param, value)


def _value(param: Param, code: Any) -> Scalar:
    return param.choices[int(code)] if isinstance(param, OneOf) else from_unit(param, float(code))
