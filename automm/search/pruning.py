"""Asynchronous successive halving by promotion.

Every trial is trained to the first rung and pauses there; whenever a worker is free, the best paused trial among the
top 1/eta of its rung goes on to the next one, from its checkpoint. Nobody waits for anybody, so it serves one worker
and many. See Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), MLSys 2020.

Two things are ours. A trial that finished (closed form, early stopping) counts at every further rung with the value it
has, but takes no place among those to be promoted: it has no plateau to come out of, the others may. And a paused loss
is never taken for a final one: `estimates` adds what others gained between the rungs.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from automm.errors import ConfigError


def rungs_between(min_epochs: int, max_epochs: int, eta: int) -> tuple[int, ...]:
    """`min_epochs * eta^k` while that is below `max_epochs`, then `max_epochs`."""
    if not 1 <= min_epochs <= max_epochs:
        raise ConfigError(f"search.min_epochs={min_epochs} must lie in 1..search.max_epochs={max_epochs}.")
    if eta < 2:
        raise ConfigError(f"search.eta={eta}: one in eta candidates is promoted, so it must be 2 or more.")
    rungs = []
    epochs = min_epochs
    while epochs < max_epochs:
        rungs.append(epochs)
        epochs *= eta
    return (*rungs, max_epochs)


class Halving:
    """The rungs and who stands on them. Losses are lower-is-better and finite; trials are known by number."""

    def __init__(self, rungs: tuple[int, ...], eta: int) -> None:
        self.rungs = rungs
        self.eta = eta
        self._losses: list[dict[int, float]] = [{} for _ in rungs]
        self._promoted: list[set[int]] = [set() for _ in rungs]
        self._done_at: dict[int, int] = {}  # trial -> the rung of the job in which it finished
        self._failed: set[int] = set()

    @property
    def top(self) -> int:
        """The index of the last rung."""
        return len(self.rungs) - 1

    def record(self, trial: int, rung: int, loss: float, *, finished: bool) -> None:
        """A trial was measured at a rung. A finished one counts at every further rung too."""
        if finished:
            self._done_at[trial] = rung
        for k in range(rung, len(self.rungs) if finished else rung + 1):
            self._losses[k][trial] = loss

    def fail(self, trial: int) -> None:
        """A trial cannot go on: it keeps its places and is promoted and chosen no more."""
        self._failed.add(trial)

    def promote(self, trial: int, rung: int) -> None:
        """A trial leaves `rung` for the next."""
        self._promoted[rung].add(trial)

    def promotable(self) -> tuple[int, int] | None:
        """(trial, rung it leaves) of the best trial in the top 1/eta of its rung, highest rung first."""
        for rung in reversed(range(self.top)):
            ranked = self._climbers(rung)
            for trial in ranked[: len(ranked) // self.eta]:
                if self._may_leave(trial, rung):
                    return trial, rung
        return None

    def closing(self) -> tuple[int, int] | None:
        """Like `promotable`, once no new candidate will come and nothing runs: who must climb for there to be a winner.

        At least max(1, n // eta^top) of the n trials that can climb are trained to the last rung, if they live.
        """
        quota = max(1, len(self._climbers(0)) // self.eta**self.top)
        arrived = [t for t in self._losses[self.top] if t not in self._failed and self._done_at.get(t, self.top) > 0]
        if len(arrived) >= quota:
            return None
        for rung in reversed(range(self.top)):
            for trial in self._climbers(rung):
                if self._may_leave(trial, rung):
                    return trial, rung
        return None

    def best(self) -> int | None:
        """The trial with the lowest loss at the highest rung that anyone was trained to: equal fidelity or nothing."""
        alive = {t for entries in self._losses for t in entries} - self._failed
        reached = [self._done_at.get(t, self._highest(t)) for t in alive]
        if not reached:
            return None
        entries = self._losses[max(reached)]
        return min((t for t in entries if t in alive), key=lambda t: (entries[t], t))

    def estimates(self) -> Mapping[int, float]:
        """What each measured, living trial's loss would be at the last rung.

        The loss at its highest rung r plus, for every step from r to the last, the median change of those that made the
        step (0 while nobody has). A pruned loss is so never mistaken for a final one.
        """
        gains = [self._gain(rung) for rung in range(self.top)]
        alive = sorted({t for entries in self._losses for t in entries} - self._failed)
        return {t: self._losses[k][t] + sum(gains[k:]) for t in alive for k in [self._highest(t)]}

    def _gain(self, rung: int) -> float:
        below, above = self._losses[rung], self._losses[rung + 1]
        steps = [above[t] - below[t] for t in self._climbers(rung) if t in above and t not in self._failed]
        return median(steps) if steps else 0.0

    def _climbers(self, rung: int) -> list[int]:
        """Trials measured at a rung that had not finished by then, best first."""
        entries = self._losses[rung]
        return sorted((t for t in entries if self._done_at.get(t, self.top + 1) > rung), key=lambda t: (entries[t], t))

    def _may_leave(self, trial: int, rung: int) -> bool:
        return trial not in self._promoted[rung] and trial not in self._failed

    def _highest(self, trial: int) -> int:
        return max(k for k, entries in enumerate(self._losses) if trial in entries)
