"""Who is trained to the end of the schedule: the winner, or who takes its place, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from automm.errors import StudyError
from automm.export.checkpoint import Trained
from automm.refit import Refit, Refits
from automm.run_dir import RunDir
from automm.search.loop import SearchResult
from automm.trial import Trial
from automm.types import Goal

WINNER = "best"
DEFAULTS = "defaults"
_GIVEN_UP = "given_up"  # the stage that names trials which won and could not be trained to the end


def keepers(found: SearchResult, goal: Goal, most: int) -> list[Trial]:
    """The trials whose state is kept: the defaults, the best, and those after it by rung, then by value, `most` in all
    beside the defaults."""
    sign = -1.0 if goal.direction == "maximize" else 1.0
    measured = [trial for trial in found.trials if trial.values and trial is not found.best]
    ranked = sorted(measured, key=lambda trial: (-trial.epochs, sign * trial.values[goal.metric]))
    best = [found.best] if found.best is not None else []
    chosen = [*found.trials[:1], *best, *ranked[: most - 1]]
    return list({trial.number: trial for trial in chosen}.values())


class Finals:
    """Trains the winner of a search to the end, and the unsearched defaults beside it.

    Args:
        refits: does the training.
        run_dir: where it is kept who was given up.
        found: the search.
        kept: its trials whose state was kept.
        defaults: whether the unsearched configuration is trained too, at the winner's budget.
        say: is told what happens.
    """

    def __init__(
        self,
        refits: Refits,
        run_dir: RunDir,
        found: SearchResult,
        kept: Sequence[Trial],
        *,
        defaults: bool,
        say: Callable[[str], None],
    ) -> None:
        assert found.best is not None  # or there is nothing to train
        self._refits, self._dir, self._say = refits, run_dir, say
        self._unsearched = found.trials[0] if defaults else None
        ranked = [found.best, *(trial for trial in kept if trial is not found.best and trial.values)]
        self._contenders = [trial for trial in ranked if trial.number not in self._given_up]

    @property
    def best(self) -> Trial:
        """The winner, or who took its place because it could not be trained to the end."""
        return self._contenders[0]

    @property
    def winner(self) -> Refit:
        """What becomes of the best trial."""
        return self._refits.continued(WINNER, self.best)

    def alone(self) -> Trained:
        """The winner, trained.

        Raises:
            StudyError: neither it nor anybody in its place can be.
        """
        return self._train(lambda: [self.winner])[WINNER]

    def beside(self, others: Sequence[Refit]) -> dict[str, Trained]:
        """The winner, the defaults and `others`, trained side by side; by name, but for those that cannot be.

        Raises:
            StudyError: neither the winner nor anybody in its place can be.
        """
        found = self._train(lambda: [*self._long(), *others])  # the long ones first, so that they end together
        if self._unsearched is self.best:
            found[DEFAULTS] = found[WINNER]
        for name, reason in self._refits.failures.items():
            self._say(f"no baseline `{name}`: {reason}")
        return found

    def _long(self) -> list[Refit]:
        """What gets the whole schedule: the winner and, where they are another trial that can be trained, the
        defaults."""
        first = self._unsearched
        if first is None or first is self.best:
            return [self.winner]
        if first.state in ("failed", "infeasible"):
            self._refits.failures[DEFAULTS] = first.reason
            return [self.winner]
        # ends are handed out in the order of submission, and that of the plain defaults is likely to come first
        return [self._refits.continued(DEFAULTS, first), self.winner]

    def _train(self, wanted: Callable[[], list[Refit]]) -> dict[str, Trained]:
        while True:
            refits = wanted()
            if not all(map(self._refits.settled, refits)):
                names = ", ".join(refit.name for refit in refits)
                self._say(f"training to the end: {names} (best is trial {self.best.number})")
            found = self._refits.train(refits)
            if WINNER in found:
                return found
            self._give_up(self._refits.failures[WINNER])

    @property
    def _given_up(self) -> list[int]:
        return list((self._dir.finished(_GIVEN_UP) or {}).get("trials", []))

    def _give_up(self, reason: str) -> None:
        """Pass the winner's place on, for good."""
        failed = self._contenders.pop(0)
        self._refits.forget(WINNER)
        self._dir.finish(_GIVEN_UP, {"trials": [*self._given_up, failed.number]})
        if not self._contenders:
            raise StudyError(
                f"the best trials could not be trained to the end; the last of them, {failed.number}, because of this: "
                f"{reason}. Next: narrow the space to what can (training.lr, say), or search.keep_checkpoints=10 to "
                "have more to fall back on, in a new run.dir."
            )
        self._say(f"trial {failed.number} cannot be trained to the end: {reason}; next is {self.best.number}")
