"""Asynchronous successive halving by promotion.

Every trial is trained to the first rung and pauses there; whenever a worker is free, the best paused trial among the
top 1/eta of its rung goes on to the next one, from its checkpoint. Nobody waits for anybody, so it serves one worker
and many. See Li et al., "A System for Massively Parallel Hyperparameter Tuning" (ASHA), MLSys 2020.

Four things are ours, because a network may sit on a plateau at first and the best kind of it longest:

- A paused loss is never taken for a final one. What is compared is the loss plus what others gained from that rung on:
  others of the same family (the same value of the space's widest choice) and, while none of them has gone on, those of
  the family that gained most, for a family may be better than it looks until it has been tried.
- It is tried: every second place goes to the best of a family that has sent nobody on yet, its pioneer; first to that
  with the worst trial, for so a plateau looks.
- Ranks at the first rungs flip with every newcomer. No rung sends more than 1/eta of its trials on for that, but for
  whoever leads it: a leader may always go on.
- A trial that finished (closed form, early stopping) counts at every further rung with the loss it has, but takes no
  place among those to be promoted: it has no plateau to come out of, the others may.

The incumbent is chosen by measured losses at one rung alone.
"""

from __future__ import annotations

from collections import defaultdict
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
        self._family: dict[int, str] = {}
        self._done_at: dict[int, int] = {}  # trial -> the rung of the job in which it finished
        self._failed: set[int] = set()

    @property
    def top(self) -> int:
        """The index of the last rung."""
        return len(self.rungs) - 1

    def record(self, trial: int, rung: int, loss: float, *, finished: bool, family: str = "") -> None:
        """A trial was measured at a rung. A finished one counts at every further rung too."""
        self._family[trial] = family
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
        """(trial, rung it leaves) of the best trial in the top 1/eta of its rung, a pioneer or a leader of a rung whose
        places are taken, highest rung first."""
        for rung in reversed(range(self.top)):
            ranked = self._climbers(rung)
            places, taken = len(ranked) // self.eta, len(self._promoted[rung])
            first = ranked[:places]
            if taken >= places:
                going_up = first[:1]
            elif taken % 2:
                going_up = self._pioneers(rung, ranked) + first
            else:
                going_up = first + self._pioneers(rung, ranked)
            for trial in going_up:
                if self._may_leave(trial, rung):
                    return trial, rung
        return None

    def closing(self) -> tuple[int, int] | None:
        """Like `promotable`, once no new candidate will come and nothing runs: who must climb for there to be a winner.

        At least max(1, n // eta^top) of the n trials that can climb are trained to the last rung, if they live.
        """
        quota = max(1, len(self._climbers(0)) // self.eta**self.top)
        if len(self.arrived()) >= quota:
            return None
        for rung in reversed(range(self.top)):
            for trial in self._climbers(rung):
                if self._may_leave(trial, rung):
                    return trial, rung
        return None

    def arrived(self) -> list[int]:
        """Living trials that climbed to the last rung, none where there is but one."""
        return [t for t in self._losses[self.top] if t not in self._failed and self._done_at.get(t, self.top) > 0]

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
        step: of its own family if any did, else of the family that gained most (0 while nobody has).
        """
        alive = sorted({t for entries in self._losses for t in entries} - self._failed)
        return {t: self._expected(t, self._highest(t)) for t in alive}

    def _expected(self, trial: int, rung: int) -> float:
        family = self._family[trial]
        return self._losses[rung][trial] + sum(self._gain(step, family) for step in range(rung, self.top))

    def _gain(self, rung: int, family: str) -> float:
        below, above = self._losses[rung], self._losses[rung + 1]
        made = [t for t in above if t in below and self._unfinished(t, rung) and t not in self._failed]
        steps: dict[str, list[float]] = defaultdict(list)
        for trial in made:
            steps[self._family[trial]].append(above[trial] - below[trial])
        return median(steps[family]) if family in steps else min(map(median, steps.values()), default=0.0)

    def _climbers(self, rung: int) -> list[int]:
        """Trials measured at a rung that had not finished by then, the most promising first."""
        measured = [t for t in self._losses[rung] if self._unfinished(t, rung)]
        return sorted(measured, key=lambda t: (self._expected(t, rung), t))

    def _pioneers(self, rung: int, ranked: list[int]) -> list[int]:
        """The best of each family that has sent nobody on from this rung; nobody where there is but one family."""
        families = {self._family[t] for t in self._climbers(0)}
        sent = {self._family[t] for t in self._promoted[rung]}
        best = {self._family[t]: t for t in reversed(ranked)}  # families in the order of their worst
        return [t for family, t in best.items() if len(families) > 1 and family not in sent]

    def _unfinished(self, trial: int, rung: int) -> bool:
        return self._done_at.get(trial, self.top + 1) > rung

    def _may_leave(self, trial: int, rung: int) -> bool:
        return trial not in self._promoted[rung] and trial not in self._failed

    def _highest(self, trial: int) -> int:
        return max(k for k, entries in enumerate(self._losses) if trial in entries)
