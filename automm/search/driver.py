"""The driver's mind: given the events so far, what happens next. Deterministic, so that a study can be replayed.

`decide` gives the next decision (ask for a candidate, promote a trial) and `apply` takes any event in. A resumed search
replays the ledger: what was learnt is applied, what was decided is decided again and must come out the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from automm.errors import StudyError
from automm.search.history import History
from automm.search.strategies.random import draw
from automm.search.strategies.strategy import Strategy, key_of
from automm.search.strategies.tree import tidy
from automm.search.study import Event, Kind
from automm.space import Candidate, Space
from automm.trial import Trial

REASKS = 30  # how often a strategy may offer what is known already before a random candidate takes its place
DRAWS = 300  # random candidates that may be known already before the space counts as exhausted
LADDER = "ladder"  # the origin of a trial that is another, one step up its ladders
FORBIDDEN_PER_TRIAL = 20  # infeasible candidates cost nothing, but there is an end to asking


@dataclass(frozen=True)
class Decision:
    """What the driver wants to do next; becomes an event."""

    kind: Kind
    trial: int | None
    data: dict[str, Any]


class Driver:
    """A strategy, successive halving, and the memory of both.

    Args:
        space: what is searched.
        history: what happened so far.
        strategy: proposes.
        trials: candidates to ask for.
        seed: of what the strategy leaves to chance.
        horizon: epochs to which the winner will be trained on from where the search leaves it; None = it will not be.
        climb: the share of the trials that goes to the best one step up their ladders; `strategy` then proposes at the
            foot of these. 0 = ladders are choices like any other.
        may_climb: whether a candidate further up can be trained at all; a pure function.
    """

    def __init__(
        self,
        space: Space,
        history: History,
        strategy: Strategy,
        *,
        trials: int,
        seed: int,
        horizon: int | None = None,
        climb: float = 0.0,
        may_climb: Callable[[Candidate], bool] = lambda _: True,
    ) -> None:
        self.space = space
        self._ground = ground(space, climb)
        self._heads = head_trials(space, trials, climb)
        self._may_climb = may_climb
        self.history = history
        self._strategy = strategy
        self._budget = trials
        self._seed = seed
        self._horizon = horizon
        self._known: dict[str, Trial] = {}
        self._told: dict[int, float] = {}

    @property
    def has_ladder(self) -> bool:
        """Whether there are candidates that the strategy leaves to the end."""
        return self._ground is not self.space

    def decide(self) -> Decision | None:
        """The next decision; None when there is none before a running job ends, or none at all."""
        going_up = self.history.halving.promotable()
        if going_up is None and self._wants_more():
            ahead = self._ahead(self.history.halving.rungs[0]) if self._has_longest_way() else None
            chosen = ahead or self._ask()
            if chosen is None and self.has_ladder and self._ground_is_spent() and self.history.pending:
                return self._ahead()  # who is running may climb yet
            return chosen or Decision("exhausted", None, {})
        if going_up is None and not self.history.pending:
            going_up = self.history.halving.closing()
        if going_up is None:
            return self._ahead()
        number, rung = going_up
        rungs = self.history.halving.rungs
        return Decision("promote", number, {"start": self.history.trials[number].epochs, "stop": rungs[rung + 1]})

    def apply(self, event: Event) -> None:
        """Take one event in."""
        self.history.apply(event)
        if event.kind == "ask":
            trial = self.history.trials[-1]
            self._known[key_of(trial.candidate)] = trial

    def replay(self, event: Event) -> None:
        """Take in an event of the past; raise StudyError when today's decision would be another."""
        if event.kind in ("ask", "promote", "exhausted"):
            then, now = Decision(event.kind, event.trial, dict(event.data)), self.decide()
            if then != now:
                raise StudyError(
                    f"event {event.seq} of the study was {then}, but replaying it gives {now}: the study was written "
                    "by other versions of automm or of what it uses. Next: install those versions (the study's header "
                    "names them), or name a new run.dir."
                )
        self.apply(event)

    def _ahead(self, step: int = 1) -> Decision | None:
        """Where others still run, the leader trains on, `step` epochs at a time.

        Its further values decide nothing. But whoever wins is trained to the end, and it is likely to be the leader.
        Its last epoch is left for then: the search would wait for it, where what the winner is compared with is
        trained beside it.
        """
        leader = self.history.best
        if leader is None or leader.finished or leader.pending is not None or not self.history.pending:
            return None
        epochs, last_rung = leader.epochs, self.history.halving.rungs[-1]
        if self._horizon is None or not last_rung <= epochs < self._horizon - 1:
            return None
        return Decision("promote", leader.number, {"start": epochs, "stop": min(epochs + step, self._horizon - 1)})

    def _has_longest_way(self) -> bool:
        """Whether the leader is expected to win and has more epochs before it than the candidates still to come have
        at the first rung.

        Its epochs follow each other on one worker: the others wait for it in the end unless they begin in time. Of one
        that was trained to the last rung alone nothing can be expected: what others gain there is not known.
        """
        leader, halving = self.history.best, self.history.halving
        if leader is None or self._horizon is None or len(halving.arrived()) < 2:
            return False
        if self._horizon - leader.epochs <= (self._budget - self._asked()) * halving.rungs[0]:
            return False
        losses = halving.estimates()
        return min(losses, key=lambda trial: (losses[trial], trial)) == leader.number

    def _asked(self) -> int:
        """Candidates that count against the budget: what is refused before it runs costs nothing."""
        return sum(trial.state != "infeasible" for trial in self.history.trials)

    def _wants_more(self) -> bool:
        return not self.history.exhausted and self._asked() < self._budget

    def _ask(self) -> Decision | None:
        self._tell_news()
        if not self.history.trials:
            defaults = _tidy(self._ground, self._ground.defaults())
            return Decision("ask", 0, {"candidate": defaults, "origin": "defaults", "repeats": 0})
        forbidden = sum(trial.state == "infeasible" for trial in self.history.trials)
        if forbidden >= FORBIDDEN_PER_TRIAL * self._budget:
            return None
        time_to_climb = self.history.climbing or self._asked() >= self._heads
        return (self._step_up() if time_to_climb else None) or self._proposed() or self._step_up()

    def _proposed(self) -> Decision | None:
        """What the strategy proposes that is new, or chance does; None when there is nothing new."""
        number = len(self.history.trials)
        if self._ground_is_spent():
            return None
        for repeats in range(REASKS):
            candidate = _tidy(self._ground, self._strategy.ask())
            known = self._known.get(key_of(candidate))
            if known is None:
                return Decision("ask", number, {"candidate": candidate, "origin": "strategy", "repeats": repeats})
            if known.number in self._told:
                self._strategy.tell(candidate, self._told[known.number])
        rng = np.random.default_rng([self._seed, number])
        for _ in range(DRAWS):
            candidate = _tidy(self._ground, draw(self._ground, rng))
            if key_of(candidate) not in self._known:
                return Decision("ask", number, {"candidate": candidate, "origin": "random", "repeats": REASKS})
        return None

    def _ground_is_spent(self) -> bool:
        return sum(trial.origin != LADDER for trial in self.history.trials) >= self._ground.cardinality()

    def _step_up(self) -> Decision | None:
        """The most promising trial whose next step up its ladders is new, one step up."""
        if not self.has_ladder:
            return None
        losses = self.history.halving.estimates()
        for number in sorted(losses, key=lambda trial: (losses[trial], trial)):
            raised = self.space.raised(self.history.trials[number].candidate)
            if raised is None:
                continue
            raised = _tidy(self.space, raised)
            if key_of(raised) not in self._known and self._may_climb(raised):
                data = {"candidate": raised, "origin": LADDER, "repeats": 0}
                return Decision("ask", len(self.history.trials), data)
        return None

    def _tell_news(self) -> None:
        """Tell the strategy every loss that it has not heard, or that is now estimated differently."""
        losses = dict(self.history.halving.estimates())
        if not losses:
            return
        worst = max(losses.values())
        for trial in self.history.trials:
            if trial.state in ("failed", "infeasible"):
                losses[trial.number] = worst
        for number in sorted(losses):
            if self.history.trials[number].origin == LADDER:
                continue  # it is not of the strategy's space
            if self._told.get(number) != losses[number]:
                self._strategy.tell(self.history.trials[number].candidate, losses[number])
                self._told[number] = losses[number]


def ground(space: Space, climb: float) -> Space:
    """The part of a space that a strategy is given; the space itself where it has no ladder or none is climbed."""
    foot = space.grounded() if climb else space
    return space if foot == space else foot


def head_trials(space: Space, trials: int, climb: float) -> int:
    """The trials that a strategy is asked for: of `trials` all but the share that is for climbing, which is one at
    least where there is a ladder and more than one trial."""
    if ground(space, climb) is space or trials == 1:
        return trials
    return min(math.ceil(trials * (1 - climb)), trials - 1)


def _tidy(space: Space, candidate: Candidate) -> Candidate:
    """The candidate, checked, with six significant digits of every real number: what is shown is what ran."""
    space.check(candidate)
    return {path: tidy(param, candidate[path]) for path, param in space.active(candidate)}
