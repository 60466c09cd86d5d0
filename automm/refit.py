"""Training to the end: the winner of a search, and what it is compared with. Each is on disk once it is done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from automm.data.split import joined
from automm.export.checkpoint import Trained, load_model, save_model
from automm.paths import section_of
from automm.run_dir import RunDir
from automm.search.executors.in_process import InProcess
from automm.search.loop import make_executor, run_all
from automm.settings import Settings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training.checkpoint import epochs_in
from automm.training.objective import TrainingObjective
from automm.trial import Job, Outcome, Report, Trial
from automm.types import FieldSpec, Splits, Table

OnEpoch = Callable[[str, int, int, Mapping[str, float]], None]
_PROOF_ROWS = 16  # raw validation rows an export is proved on


@dataclass(frozen=True)
class Refit:
    """One model to train to the end of its schedule."""

    name: str
    candidate: Candidate
    epochs: int
    fields: tuple[str, ...] | None = None  # the input fields it reads; None = all
    begun: Path | None = None  # a trial's checkpoint to go on from
    on_valid: bool = False  # whether the validation rows are trained on too
    valid: Mapping[str, float] | None = None  # validation metrics, where they are those of another fit
    unseeing: Path | None = None  # the state of a fit of the candidate that has not learnt from the validation rows


class Refits:
    """Trains candidates to the end and keeps them under `checkpoints/<name>`, several at once where the executor can.

    Args:
        settings: the run's.
        run_dir: where models and finished stages are kept.
        splits: the data; the test split is not read.
        task: fitted on the training table.
        objective: the search's, whose trials are continued.
        on_epoch: is told of every epoch: the model's name, epochs done, epochs in all, validation metrics.
        on_trained: is told the name of every model that is trained and saved; others may still be trained meanwhile.
    """

    def __init__(
        self,
        settings: Settings,
        run_dir: RunDir,
        splits: Splits,
        task: Task,
        objective: TrainingObjective,
        on_epoch: OnEpoch,
        on_trained: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings, self.dir, self.splits, self.task = settings, run_dir, splits, task
        self.objective, self.on_epoch, self.on_trained = objective, on_epoch, on_trained
        self.failures: dict[str, str] = {}  # why, by the name of what cannot be trained to its end
        self._loaded: dict[str, Trained] = {}

    def continued(self, name: str, trial: Trial, valid: Mapping[str, float] | None = None) -> Refit:
        """A trial of the search, to be taken on from its last checkpoint to `training.epochs`, or trained anew on more
        rows; then its validation metrics are `valid`, where these are not the trial's own."""
        if self._on_valid:
            epochs = self.settings.training.epochs
            unseeing = self.objective.state_of(trial)
            return Refit(name, trial.candidate, epochs, on_valid=True, valid=valid or trial.values, unseeing=unseeing)
        state = self.objective.trial_folder(trial.number) / f"{trial.epochs}.safetensors"
        return Refit(name, trial.candidate, self.settings.training.epochs, begun=state)

    def unimodal(self, name: str, fields: Sequence[FieldSpec], defaults: Candidate) -> Refit:
        """The unsearched configuration on some of the fields alone."""
        candidate, names = alone(defaults, fields), tuple(field.name for field in fields)
        return Refit(name, candidate, self.settings.baselines.unimodal_epochs, names, on_valid=self._on_valid)

    def train(self, wanted: Sequence[Refit]) -> dict[str, Trained]:
        """The trained models by name; those that are done already are only read.

        One that cannot be trained to its end is left out, and `failures` says why.

        Raises:
            KeyboardInterrupt: it was stopped; what was done is on disk.
        """
        todo = [refit for refit in wanted if not self.settled(refit)]
        if todo:
            self._train(todo)
        alive = [refit.name for refit in wanted if refit.name not in self.failures]
        for name in alive:
            if name not in self._loaded:
                self._loaded[name] = load_model(self.dir.checkpoints / name)
        return {name: self._loaded[name] for name in alive}

    def settled(self, refit: Refit) -> bool:
        """Whether there is nothing left to do for it: it is trained, or cannot be."""
        return refit.name in self.failures or self.dir.finished(refit.name) is not None

    def forget(self, name: str) -> None:
        """Drop what a failed one left, so that another may be trained under its name."""
        self.failures.pop(name, None)
        self.state_of(name).unlink(missing_ok=True)

    def seconds(self, *names: str) -> float:
        """What training these took, over all sessions."""
        return float(sum((self.dir.finished(name) or {}).get("seconds", 0.0) for name in names))

    def state_of(self, name: str) -> Path:
        """The state a model is trained on from; its gradient log lies beside it as JSON."""
        return self.dir.checkpoints / f"{name}.safetensors"

    @property
    def horizon(self) -> int | None:
        """Epochs to which a trial of the search is taken on from its checkpoint; None where it is trained anew."""
        return None if self._on_valid or self.splits.folds is not None else self.settings.training.epochs

    def left(self, trial: Trial) -> float:
        """Seconds that training a trial to the end should take, by what its epochs took so far."""
        anew = self.horizon is None
        if trial.finished:  # nothing would change in further epochs
            return trial.seconds if anew else 0.0
        done = 0 if anew else trial.epochs
        return trial.seconds / max(trial.epochs, 1) * (self.settings.training.epochs - done)

    @property
    def _on_valid(self) -> bool:
        """Whether validation rows are trained on: only where a test is left to judge by."""
        test = self.splits.test
        judged = test is not None and any(target is not None for target in test.targets)
        return self.settings.training.refit_on_valid and judged

    def _train(self, todo: Sequence[Refit]) -> None:
        executor = make_executor(self.settings.search.executor) if len(todo) > 1 else InProcess()
        jobs = [Job(at, refit.candidate, 0, refit.epochs) for at, refit in enumerate(todo)]
        training = _Training(self.settings, self.dir.checkpoints, self.splits, self.task, tuple(todo))

        def told(job: Job, epoch: int, values: dict[str, float]) -> None:
            self.on_epoch(todo[job.trial].name, epoch, job.stop, values)

        with closing(run_all(executor, training, jobs, told)) as ends:
            for ended in ends:
                name, outcome = todo[ended.job.trial].name, ended.outcome
                if outcome is None:
                    self.failures[name] = ended.failure or "no reason given"
                else:
                    self.dir.finish(name, {"seconds": outcome.seconds, "epochs": outcome.epochs})
                    self.on_trained(name)


class _Training:
    """Trains models to the end; may be handed to another process. A job's number says which."""

    def __init__(self, settings: Settings, folder: Path, splits: Splits, task: Task, refits: tuple[Refit, ...]) -> None:
        self.settings, self.folder, self.task, self.refits = settings, folder, task, refits
        self.splits = Splits(splits.train, splits.valid)

    def check(self, candidate: Candidate) -> str | None:
        """Nothing forbids them."""
        return None

    def run(self, job: Job, report: Report) -> Outcome:
        """Train one, from whatever state it was left in."""
        refit = self.refits[job.trial]
        settings = replace(self.settings, training=replace(self.settings.training, epochs=refit.epochs))
        splits = self.splits
        if refit.on_valid:
            splits = Splits(joined(splits.train, splits.valid), splits.valid)
        objective = TrainingObjective(settings, splits, self.task, self.folder, fields=refit.fields)
        state = self.folder / f"{refit.name}.safetensors"
        done = epochs_in(state)
        if done is None and refit.begun is not None and refit.begun.exists():
            shutil.copyfile(refit.begun, state)
            done = epochs_in(state)
        fitted = objective.fit(
            refit.candidate,
            start=done or 0,
            stop=max(refit.epochs, done or 0),
            resume=state if done else None,
            save_to=state,
            report=report,
        )
        model, preprocessors = objective.whole(fitted, refit.candidate)
        model.temperature.fill_(self._temperature(refit, state, objective))
        trained = Trained(
            model,
            self.task,
            self.settings.task,
            objective.schema,
            refit.candidate,
            preprocessors,
            proof_rows(self.splits.valid, tuple(preprocessors)),
            {"valid": fitted.result.values if refit.valid is None else refit.valid},
        )
        save_model(self.folder / refit.name, trained)
        return Outcome(fitted.result.values, fitted.result.epochs, True, fitted.result.seconds)

    def _temperature(self, refit: Refit, state: Path, objective: TrainingObjective) -> float:
        """What calibrates the model whose fit left `state`, by scores of validation rows that were not learnt from.

        Where they were learnt from, that of the trial it comes from; 1 where it comes from none.
        """
        if not refit.on_valid:
            return objective.temperature(refit.candidate, state)
        if refit.unseeing is None:
            return 1.0
        apart = TrainingObjective(objective.settings, self.splits, self.task, self.folder, fields=refit.fields)
        return apart.temperature(refit.candidate, refit.unseeing)


def alone(defaults: Candidate, fields: Sequence[FieldSpec]) -> Candidate:
    """The unsearched configuration for some fields: their encoders, plain concatenation, the same training."""
    kept = {path: value for path, value in defaults.items() if path.startswith("training.")}
    for section in sorted({section_of(field, defaults) for field in fields}):
        kept |= {path: value for path, value in defaults.items() if path.startswith(f"{section}.")}
    return {**kept, "fusion.name": "concat"}


def proof_rows(table: Table, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """Raw rows spread over a table, of these fields."""
    chosen = np.unique(np.linspace(0, len(table) - 1, min(_PROOF_ROWS, len(table))).astype(int))
    return [{name: value for name, value in table.row(int(at)).items() if name in fields} for at in chosen]
