"""Training to the end: the winner of a search, and what it is compared with. Each is on disk once it is done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from automm.export.checkpoint import Trained, load_model, save_model
from automm.run_dir import RunDir
from automm.search.trial import Trial
from automm.settings import Settings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training.checkpoint import epochs_in
from automm.training.objective import Fitted, TrainingObjective
from automm.types import Splits, Table

OnEpoch = Callable[[str, int, int, Mapping[str, float]], None]
_PROOF_ROWS = 16  # raw validation rows an export is proved on


class Refits:
    """Trains candidates to the end of their schedule and keeps them under `checkpoints/<name>`.

    Args:
        settings: the run's.
        run_dir: where models and finished stages are kept.
        splits: the data; the test split is not read.
        task: fitted on the training table.
        objective: the search's, whose trials are continued.
        on_epoch: is told of every epoch: the model's name, epochs done, epochs in all, validation metrics.
    """

    def __init__(
        self,
        settings: Settings,
        run_dir: RunDir,
        splits: Splits,
        task: Task,
        objective: TrainingObjective,
        on_epoch: OnEpoch,
    ) -> None:
        self.settings, self.dir, self.splits, self.task = settings, run_dir, splits, task
        self.objective, self.on_epoch = objective, on_epoch

    def continued(self, name: str, trial: Trial) -> Trained:
        """A trial of the search, taken on from its last checkpoint to `training.epochs`."""
        folder = self.objective.trial_folder(trial.number)
        state = folder / f"{trial.epochs}.safetensors"
        return self._trained(
            name, self.objective, trial.candidate, self.settings.training.epochs, (trial.epochs, state)
        )

    def unimodal(self, name: str, fields: tuple[str, ...]) -> Trained:
        """The unsearched configuration on some of the fields alone."""
        epochs = self.settings.baselines.unimodal_epochs
        settings = replace(self.settings, training=replace(self.settings.training, epochs=epochs))
        objective = TrainingObjective(settings, self.splits, self.task, self.dir.checkpoints, fields=fields)
        candidate = alone(self.settings.space.defaults(), {self.splits.train.schema[f].modality for f in fields})
        return self._trained(name, objective, candidate, epochs, None)

    def seconds(self, *names: str) -> float:
        """What training these took, over all sessions."""
        return float(sum((self.dir.finished(name) or {}).get("seconds", 0.0) for name in names))

    def gradients_of(self, name: str) -> Path:
        """The state file beside which a model's gradient log lies."""
        return self.dir.checkpoints / f"{name}.safetensors"

    def _trained(
        self,
        name: str,
        objective: TrainingObjective,
        candidate: Candidate,
        epochs: int,
        begun: tuple[int, Path] | None,
    ) -> Trained:
        folder = self.dir.checkpoints / name
        if self.dir.finished(name) is not None:
            return load_model(folder)
        fitted = self._fit(name, objective, candidate, epochs, begun)
        trained = Trained(
            fitted.model,
            self.task,
            self.settings.task,
            objective.schema,
            candidate,
            fitted.preprocessors,
            proof_rows(self.splits.valid, tuple(fitted.preprocessors)),
            {"valid": fitted.result.values},
        )
        save_model(folder, trained)
        self.dir.finish(name, {"seconds": fitted.result.seconds, "epochs": fitted.result.epochs})
        return trained

    def _fit(
        self,
        name: str,
        objective: TrainingObjective,
        candidate: Candidate,
        epochs: int,
        begun: tuple[int, Path] | None,
    ) -> Fitted:
        state = self.gradients_of(name)
        done = epochs_in(state)
        if done is None and begun is not None and begun[1].exists():
            done = begun[0]
            shutil.copyfile(begun[1], state)
        return objective.fit(
            candidate,
            start=done or 0,
            stop=max(epochs, done or 0),
            resume=state if done else None,
            save_to=state,
            report=lambda epoch, values: self.on_epoch(name, epoch, epochs, values),
        )


def alone(defaults: Candidate, modalities: set[str]) -> Candidate:
    """The unsearched configuration for some modalities: their encoders, plain concatenation, the same training."""
    kept = {path: value for path, value in defaults.items() if path.startswith("training.")}
    for modality in sorted(modalities):
        kept |= {path: value for path, value in defaults.items() if path.startswith(f"encoder.{modality}.")}
    return {**kept, "fusion.name": "concat"}


def proof_rows(table: Table, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """Raw rows spread over a table, of these fields."""
    chosen = np.unique(np.linspace(0, len(table) - 1, min(_PROOF_ROWS, len(table))).astype(int))
    return [{name: value for name, value in table.row(int(at)).items() if name in fields} for at in chosen]
