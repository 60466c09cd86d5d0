"""Who is trained to the end of the schedule: the winner, or who takes its place, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from automm.errors import StudyError
from automm.export.checkpoint import Trained
from automm.export.ensemble import MEMBERS, combined, stirred
from automm.refit import Refit, Refits
from automm.run_dir import RunDir, write_json
from automm.search.loop import SearchResult
from automm.search.selection import Members
from automm.trial import Trial
from automm.types import Goal

WINNER = "best"
SINGLE = "single"  # the winner alone, where an ensemble or a soup takes its place
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
        members: what is averaged with the winner of the search.
        goal: what the search drove at.
        measure: metrics of a trained model on the validation rows.
        defaults: whether the unsearched configuration is trained too, at the winner's budget.
        say: is told what happens.
    """

    def __init__(
        self,
        refits: Refits,
        run_dir: RunDir,
        found: SearchResult,
        kept: Sequence[Trial],
        members: Members,
        *,
        goal: Goal,
        measure: Callable[[Trained], Mapping[str, float]],
        defaults: bool,
        say: Callable[[str], None],
    ) -> None:
        assert found.best is not None  # or there is nothing to train
        self._refits, self._dir, self._say = refits, run_dir, say
        self._searched, self._members = found, members
        self._goal, self._measure = goal, measure
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
        return self._refits.continued(WINNER, self.best, self._searched.values_of(self.best))

    @property
    def weights(self) -> dict[str, float]:
        """The weights of what is averaged, by the name it is trained under; empty where the winner stays alone."""
        if self.best is not self._searched.best:  # they were chosen to go with another
            return {}
        return {self._called(number): weight for number, weight in self._members.weights.items()}

    def alone(self) -> Trained:
        """The winner, trained; with those it is averaged with, where there are any.

        Raises:
            StudyError: neither it nor anybody in its place can be.
        """
        return self._whole(self._train(self._finalists))

    def beside(self, others: Sequence[Refit]) -> dict[str, Trained]:
        """The winner, the defaults and `others`, trained side by side; by name, but for those that cannot be.

        Raises:
            StudyError: neither the winner nor anybody in its place can be.
        """
        found = self._train(lambda: [*self._long(), *others])  # the long ones first, so that they end together
        if self._unsearched is not None and (twin := self._called(self._unsearched.number)) in found:
            found[DEFAULTS] = found[twin]
        whole = self._whole(found)
        if whole is not found[WINNER]:
            found[SINGLE], found[WINNER] = found[WINNER], whole
        for name, reason in self._refits.failures.items():
            self._say(f"no baseline `{name}`: {reason}")
        return found

    def _long(self) -> list[Refit]:
        """What gets the whole schedule: the winner and, where they are another trial that can be trained, the
        defaults."""
        first, long = self._unsearched, self._finalists()
        if first is None or self._called(first.number) in {refit.name for refit in long}:
            return long
        if first.state in ("failed", "infeasible"):
            self._refits.failures[DEFAULTS] = first.reason
            return long
        unsearched = self._refits.continued(DEFAULTS, first)
        # ends are handed out in the order of submission, and at the winner's its export begins
        return [unsearched, *long] if self._refits.left(first) < self._refits.left(self.best) else [*long, unsearched]

    def _finalists(self) -> list[Refit]:
        """The winner, and whatever it is averaged with."""
        others = {self._called(n): self._searched.trials[n] for n in self._members.weights} if self.weights else {}
        return [self.winner, *(self._refits.continued(name, t) for name, t in others.items() if name != WINNER)]

    def _called(self, number: int) -> str:
        """What a trial is trained to the end as."""
        return WINNER if number == self.best.number else f"member_{number:04d}"

    def _whole(self, found: Mapping[str, Trained]) -> Trained:
        """The mean of the winner and those it is averaged with, as far as they could be trained."""
        weights = {name: weight for name, weight in self.weights.items() if name in found}
        if len(weights) < 2:
            return found[WINNER]
        if self._members.souped:
            return self._soup(found)
        total = sum(weights.values())
        weights = {name: weight / total for name, weight in weights.items()}
        write_json(self._dir.checkpoints / MEMBERS, {"weights": weights, "valid": dict(self._members.valid)})
        return combined(found, weights, self._members.valid)

    def _soup(self, found: Mapping[str, Trained]) -> Trained:
        """The mean of all their weights, unless it does not hold what it promised when it was chosen."""
        names, members = list(self.weights), self._members
        if all(name in found for name in names):
            whole = stirred([found[name] for name in names], members.valid, members.temperature)
            seen = self.winner.on_valid  # then the winner's own loss on the validation rows says nothing
            bar = self._goal.loss(members.valid) if seen else self._goal.loss(self._measure(found[WINNER]))
            if self._goal.loss(self._measure(whole)) <= bar:
                said = {"soup": names, "valid": dict(members.valid), "temperature": members.temperature}
                write_json(self._dir.checkpoints / MEMBERS, said)
                return whole
        self._say("the soup of weights does not hold what it promised: the winner stays alone")
        return found[WINNER]

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
