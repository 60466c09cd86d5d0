"""Judging a candidate by k-fold cross-validation: by every row of a small table, each when it was not learnt from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np

from automm.data.split import joined, take
from automm.settings import Settings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training.objective import TrainingObjective
from automm.trial import Job, Outcome, Report, Trial
from automm.types import Splits, Table

_OUTCOME = "outcome.json"


class FoldedObjective:
    """Fits a candidate once a fold and reports the mean of each metric.

    The first fold is the run's own pair of training and validation tables, whose state is kept where it would be
    without folds; the others lie below it, under `fold<k>`. A fold that is finished (closed form, early stopping) is
    not fitted again while others go on.

    Args:
        settings: the run's.
        splits: with `folds`.
        task: fitted on the training table.
        folder: where trials keep their state.
    """

    def __init__(self, settings: Settings, splits: Splits, task: Task, folder: Path) -> None:
        assert splits.folds is not None  # or there is but one
        self.settings, self.splits, self.task, self.folder = settings, splits, task, folder
        whole = joined(splits.train, splits.valid)
        self._folds = [TrainingObjective(settings, splits, task, folder)]
        for k in range(1, int(splits.folds.max()) + 1):
            rest, own = (take(whole, np.flatnonzero(rows)) for rows in (splits.folds != k, splits.folds == k))
            self._folds.append(TrainingObjective(settings, Splits(rest, own), task, folder / f"fold{k}"))

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process needs to judge the same."""
        splits = Splits(self.splits.train, self.splits.valid, folds=self.splits.folds)
        return FoldedObjective, (self.settings, splits, self.task, self.folder)

    def check(self, candidate: Candidate) -> str | None:
        """As without folds; all rows are in the first one."""
        return self._folds[0].check(candidate)

    def run(self, job: Job, report: Report) -> Outcome:
        """Take the trial of every fold from `job.start` epochs to `job.stop`; reports are of the first fold.

        Raises:
            TrialFailed: it cannot go on in one of them.
        """
        first = _fold(self._folds[0], job, report)
        return _mean([first, *(_fold(fold, job, lambda *_: None) for fold in self._folds[1:])], job)

    @property
    def judged(self) -> Table:
        """The rows that candidates are judged by, fold by fold."""
        return reduce(joined, (fold.valid for fold in self._folds))

    def judged_scores(self, trial: int) -> np.ndarray:
        """What a trial that may become a member of an ensemble scored on those rows, float32 [rows, C]."""
        return np.concatenate([fold.judged_scores(trial) for fold in self._folds])

    def souped_scores(self, trials: Sequence[Trial]) -> np.ndarray | None:
        """As without folds, each fold's rows by the mean of what was fitted to the others."""
        parts = [fold.souped_scores(trials) for fold in self._folds]
        return None if any(part is None for part in parts) else np.concatenate([p for p in parts if p is not None])

    def souped_temperature(self, trials: Sequence[Trial]) -> float:
        """As of the first fold."""
        return self._folds[0].souped_temperature(trials)

    def preprocessing(self, candidate: Candidate) -> dict[str, str]:
        """As of the first fold."""
        return self._folds[0].preprocessing(candidate)

    def close(self) -> None:
        """Drop the state of all folds but the first."""
        for fold in self._folds[1:]:
            shutil.rmtree(fold.folder, ignore_errors=True)


def _fold(objective: TrainingObjective, job: Job, report: Report) -> Outcome:
    told = objective.trial_folder(job.trial) / _OUTCOME
    if told.exists():
        earlier = Outcome(**json.loads(told.read_text(encoding="utf-8")))
        if earlier.finished:
            return Outcome(earlier.values, earlier.epochs, True, 0.0, tuple(earlier.findings))
    outcome = objective.run(job, report)
    partial = told.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    partial.replace(told)
    return outcome


def _mean(outcomes: Sequence[Outcome], job: Job) -> Outcome:
    names = [name for name in outcomes[0].values if all(name in each.values for each in outcomes)]
    finished = all(each.finished for each in outcomes)
    return Outcome(
        values={name: float(np.mean([each.values[name] for each in outcomes])) for name in names},
        epochs=max(each.epochs for each in outcomes) if finished else job.stop,
        finished=finished,
        seconds=sum(each.seconds for each in outcomes),
        findings=tuple(dict.fromkeys(sentence for each in outcomes for sentence in each.findings)),
    )
