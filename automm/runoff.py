"""Who wins a search whose candidates few rows have judged: the last of them are judged once more, by all rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from automm.data.split import joined, take
from automm.run_dir import write_json
from automm.search.loop import SearchResult, make_executor, run_all
from automm.search.selection import Runoff, lead
from automm.settings import Settings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training.objective import TrainingObjective
from automm.trial import Job, Outcome, Report, Trial
from automm.types import Goal, Splits

_SHARE = 0.2  # of a search's time limit that judging again may take
_FIRST = 0  # the fold in which the validation table validates, as it did in the search


@dataclass(frozen=True)
class Contender:
    """A trial to be judged again."""

    number: int
    candidate: Candidate
    epochs: int


class _Refolded:
    """Fits contenders anew, each to all rows but those of a fold; may be handed to another process.

    A job's number says who is fitted and which fold is left out, and what came of it is on disk afterwards.
    """

    def __init__(
        self, settings: Settings, splits: Splits, task: Task, folder: Path, contenders: Sequence[Contender]
    ) -> None:
        assert splits.runoff is not None  # or nobody is judged again
        self.settings, self.task, self.folder = settings, task, folder
        self.splits = Splits(splits.train, splits.valid, runoff=splits.runoff)
        self.contenders = tuple(contenders)
        self.folds = [k for k in np.unique(splits.runoff).tolist() if k != _FIRST]
        self._objectives: dict[int, TrainingObjective] = {}

    def jobs(self) -> list[Job]:
        """All there is to do, a contender after the other."""
        each = [(who, fold) for who in self.contenders for fold in self.folds]
        return [Job(at, who.candidate, 0, who.epochs) for at, (who, _) in enumerate(each)]

    def whom(self, job: Job) -> tuple[Contender, int]:
        """Who is fitted in a job, and the fold that is left out."""
        who, fold = divmod(job.trial, len(self.folds))
        return self.contenders[who], self.folds[fold]

    def check(self, candidate: Candidate) -> str | None:
        """They have been checked."""
        return None

    def run(self, job: Job, report: Report) -> Outcome:
        """Fit one, or read what came of it."""
        who, fold = self.whom(job)
        told = self.folder / f"{who.number:04d}-{fold}.json"
        if told.exists():
            return Outcome(**json.loads(told.read_text(encoding="utf-8")))
        state = told.with_suffix(".safetensors")
        fitted = self._objective(fold).fit(
            job.candidate, start=0, stop=job.stop, resume=None, save_to=state, report=report, save_epochs=False
        )
        result = fitted.result
        outcome = Outcome(result.values, result.epochs, result.finished, result.seconds)
        write_json(told, asdict(outcome))
        state.unlink(missing_ok=True)
        return outcome

    def _objective(self, fold: int) -> TrainingObjective:
        if fold not in self._objectives:
            assert self.splits.runoff is not None
            whole, out = joined(self.splits.train, self.splits.valid), self.splits.runoff == fold
            rest, own = (take(whole, np.flatnonzero(rows)) for rows in (~out, out))
            self._objectives[fold] = TrainingObjective(self.settings, Splits(rest, own), self.task, self.folder)
        return self._objectives[fold]


def contenders(found: SearchResult, goal: Goal, most: int, *, folds: int, limit: float | None) -> list[Trial]:
    """The defaults and `most` of the other trials that came to the last rung, the best first; nobody where one is all.

    Args:
        found: the search.
        goal: what it drove at.
        most: trials beside the defaults.
        folds: fits that judging one again takes.
        limit: seconds that these may take, by what the trials took: who comes last stays behind. None = any.
    """
    defaults, best = found.trials[0], found.best
    completed = [trial for trial in found.trials if trial.state == "completed"]
    rivals = [trial for trial in completed if trial is not defaults]
    rivals.sort(key=lambda trial: (trial is not best, goal.loss(trial.values)))
    chosen = [trial for trial in completed if trial is defaults] + rivals[:most]
    while limit is not None and folds * sum(trial.seconds for trial in chosen) > limit:
        chosen.pop()
    return chosen if len(chosen) > 1 else []


def run_off(
    settings: Settings,
    splits: Splits,
    task: Task,
    folder: Path,
    trials: Sequence[Trial],
    say: Callable[[str], None],
) -> Runoff:
    """Judge trials by every row of the training and the validation table, each when it was not learnt from.

    A trial's own validation counts as one fold; its state in `folder` lets the same call go on after a kill. One that
    cannot be fitted to a fold is left out.

    Args:
        settings: the run's.
        splits: with `runoff`.
        task: fitted on the training table.
        folder: where what is done is kept.
        trials: which were fitted to the training table.
        say: is told what happens.
    """
    assert splits.runoff is not None  # or nobody is judged again
    folder.mkdir(parents=True, exist_ok=True)
    again = [Contender(trial.number, trial.candidate, trial.epochs) for trial in trials]
    refolded = _Refolded(settings, splits, task, folder, again)
    rows, folds = len(splits.runoff), len(refolded.folds) + 1
    say(f"judging {', '.join(_named(t.number) for t in trials)} once more, by all {rows} rows in {folds} folds")
    values: dict[int, dict[int, Mapping[str, float]]] = {t.number: {_FIRST: t.values} for t in trials}
    seconds, failed = 0.0, dict[int, str]()
    for ended in run_all(make_executor(settings.search.executor), refolded, refolded.jobs()):
        who, fold = refolded.whom(ended.job)
        if ended.outcome is None:
            failed[who.number] = ended.failure or "no reason given"
        else:
            values[who.number][fold] = ended.outcome.values
            seconds += ended.outcome.seconds
    for number, reason in failed.items():
        say(f"{_named(number)} cannot be judged again: {reason}")
    weights = {fold: float((splits.runoff == fold).sum()) for fold in (_FIRST, *refolded.folds)}
    judged = {number: _mean(by_fold, weights) for number, by_fold in values.items() if number not in failed}
    return Runoff(judged, rows, folds, round(seconds, 2))


def decided(found: SearchResult, runoff: Runoff | None, goal: Goal) -> SearchResult:
    """The search with the winner of the runoff for its best; among equals the one that was ahead stays so."""
    if runoff is None or found.best is None or not runoff.values:
        return found
    ahead = found.best.number
    first = min(runoff.values, key=lambda number: (goal.loss(runoff.values[number]), number != ahead, number))
    return replace(found, best=found.trials[first], runoff=runoff)


def proven(found: SearchResult, goal: Goal, margin: float, rows: int, say: Callable[[str], None]) -> SearchResult:
    """With the defaults for the best, unless that beat them by more than chance.

    Args:
        found: the search.
        goal: what it drove at; nothing but accuracy has an error to be read off one number.
        margin: standard errors; 0 = the best is the best.
        rows: that judged, where there was no runoff.
        say: is told when the defaults stay.
    """
    best, defaults = found.best, found.trials[0]
    comparable = best is not defaults and defaults.state == "completed" and goal.metric == "accuracy"
    if not margin or best is None or not comparable:
        return found
    where, values = f"{rows} validation rows", (found.values_of(best), found.values_of(defaults))
    if found.runoff is not None:
        if defaults.number not in found.runoff.values:
            return found
        rows = found.runoff.rows
        where = f"{rows} rows in {found.runoff.folds} folds"
    ahead = lead(*values, rows)
    if ahead >= margin:
        return found
    say(
        f"trial {best.number} is ahead of the defaults by {ahead:.1f} standard errors on {where}, "
        f"less than search.margin={margin:g}: the defaults stay"
    )
    return replace(found, best=defaults, passed_over=best)


def time_for(settings: Settings) -> float | None:
    """Seconds of fits that judging again may take; None = no limit."""
    return None if settings.search.timeout is None else _SHARE * settings.search.timeout


def _named(number: int) -> str:
    return f"trial {number}" if number else "the defaults"


def _mean(by_fold: Mapping[int, Mapping[str, float]], weights: Mapping[int, float]) -> dict[str, float]:
    """Of each metric that all folds have, every row weighing the same."""
    names = [name for name in by_fold[_FIRST] if all(name in values for values in by_fold.values())]
    total = sum(weights[fold] for fold in by_fold)
    return {name: sum(weights[fold] * values[name] for fold, values in by_fold.items()) / total for name in names}
