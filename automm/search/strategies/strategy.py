"""What a search strategy is: it proposes candidates and learns what they were worth. It never trains anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from automm.space import Candidate, Space


class Strategy(ABC):
    """A seeded source of candidates.

    Options of one's own are keyword-only parameters after `budget`. The same seed and the same sequence of calls must
    give the same candidates in any process: a search is resumed by replaying it. Trial 0, the space's defaults, is
    told without having been asked for.
    """

    API: ClassVar[int] = 1
    SPACE: ClassVar[Space] = Space()

    def __init__(self, space: Space, seed: int, budget: int) -> None:
        self.space = space
        self.seed = seed
        self.budget = budget  # how many candidates will be asked for

    @abstractmethod
    def ask(self) -> Candidate:
        """The next candidate: exactly the active paths, with legal values. A known one is not paid for again."""

    @abstractmethod
    def tell(self, candidate: Candidate, loss: float) -> None:
        """What a candidate is worth: finite, lower is better, comparable among candidates.

        It may be one that was never asked for. It may come again for the same candidate: the latest value counts,
        because a trial that was stopped early is told at an estimate that gets better as others go on. Failed and
        infeasible candidates are told at the worst loss known.
        """


def key_of(candidate: Candidate) -> str:
    """A string that is the same for equal candidates, whatever the order of their paths."""
    return repr(sorted(candidate.items()))
