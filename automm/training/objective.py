"""What a search calls to judge a candidate: build, fit, evaluate. Data that candidates share is prepared once.

A trial's state lies in `<folder>/<trial>/<epochs>.safetensors` (and its gradient log beside it as JSON) for every rung
it was paused at, so that a job that was cut short finds where it began.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from automm.building import (
    build_encoder,
    build_model,
    build_solver,
    encoder_of,
    fit_preprocess,
    fit_preprocessors,
    incompatible,
)
from automm.data.field_store import FieldStore
from automm.data.split import joined, take
from automm.encoders.precomputed import Precomputed
from automm.errors import OutOfRange
from automm.model import Model
from automm.runtime.preprocess import Preprocess
from automm.settings import Settings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training import calibration, checkpoint, soup
from automm.training.allocator import LITTLE, give_back
from automm.training.augment import NONE, PIXELS
from automm.training.determinism import deterministic
from automm.training.device import device_name
from automm.training.evaluate import device_of, logits, scores
from automm.training.fit import FitJob, FitResult, Part
from automm.training.inputs import Inputs, digest
from automm.training.operations import Operations, operations
from automm.trial import Job, Outcome, Report, Trial
from automm.types import FeatureSpec, FieldSpec, Schema, Splits, Table

_MOST_ROWS = 1024  # rows at a time when nothing is learnt
_PROBE_ROWS = 64  # rows whose operations are counted
_SCORES = "valid.npy"  # beside a trial's state, where an ensemble may be made of it


@dataclass(frozen=True)
class Fitted:
    """A candidate after a fit."""

    model: Model
    preprocessors: Mapping[str, Preprocess]  # of the fields whose features were not kept
    result: FitResult


class TrainingObjective:
    """Builds, fits and evaluates candidates on one pair of splits.

    Args:
        settings: the run's.
        splits: `train` is fitted on, `valid` judged on; `test` is never read here.
        task: fitted on the training table.
        folder: where trials keep their state.
        fields: the input fields to use; None = all.
    """

    def __init__(
        self, settings: Settings, splits: Splits, task: Task, folder: Path, *, fields: tuple[str, ...] | None = None
    ) -> None:
        self.settings, self.task, self.folder = settings, task, folder
        self.train, self.valid = (only(table, fields) for table in (splits.train, splits.valid))
        extra = task.extra_rows(self.train)
        self.learnt = self.train if extra is None else joined(self.train, extra)
        self.schema = self.train.schema
        self._inputs = Inputs(settings, self.learnt, self.valid, task)

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process needs to judge the same; prepared data stays behind."""
        return TrainingObjective, (self.settings, Splits(self.train, self.valid), self.task, self.folder)

    def check(self, candidate: Candidate) -> str | None:
        """Why a hard constraint forbids the candidate: parts that do not fit, or too many operations a row.

        Of one that may run the features are seen to: here, where nobody else is at it, with all threads.

        Raises:
            TrialFailed: a component raised while it was built.
        """
        try:
            reason = incompatible(candidate, self._specs(candidate))
        except OutOfRange as error:  # an encoder without as many blocks as shall be tuned, say
            return str(error)
        reason = reason or self._cannot_augment(candidate) or self._too_dear(candidate)
        if reason is None:
            self._inputs.keep_features(candidate)
            give_back(LITTLE)
        return reason

    def _cannot_augment(self, candidate: Candidate) -> str | None:
        how = candidate.get("training.augment", NONE)
        if how == NONE:
            return None
        images = [field for field in self.schema.inputs if field.modality == "image"]
        if any(PIXELS in fit_preprocess(candidate, field, self.learnt).signature for field in images):
            return None
        return (
            f"training.augment={how} changes pixels, and no encoder here reads images as `{PIXELS}`. "
            f"Next: training.augment={NONE}"
        )

    def _too_dear(self, candidate: Candidate) -> str | None:
        limit = self.settings.search.max_gflop
        if limit is None:
            return None
        gflop = self.operations(candidate).total
        if gflop <= limit:
            return None
        return f"one training row takes {gflop:.3g} GFLOP forward, over the limit search.max_gflop={limit:g}"

    def run(self, job: Job, report: Report) -> Outcome:
        """Take a trial from `job.start` epochs to `job.stop`.

        Raises:
            TrialFailed: it cannot go on.
        """
        folder = self.trial_folder(job.trial)
        folder.mkdir(parents=True, exist_ok=True)
        for state in folder.glob("*.safetensors"):
            if state.stem != str(job.start):
                state.unlink()
        fitted = self.fit(
            job.candidate,
            start=job.start,
            stop=job.stop,
            resume=folder / f"{job.start}.safetensors" if job.start else None,
            save_to=folder / f"{job.stop}.safetensors",
            report=report,
            save_epochs=False,
        )
        result = fitted.result
        if self.settings.search.ensemble > 1 and job.stop <= self.settings.search.max_epochs:
            part = self._inputs.part(self.valid, job.candidate, fitted.preprocessors)
            with deterministic(torch.device(device_name(self.settings.training)), self.settings.training.threads):
                np.save(folder / _SCORES, scores(fitted.model, self.task, part, batch_size=_MOST_ROWS))
        souped = self.settings.search.soup > 1 and build_solver(job.candidate).TRAINS_ENCODERS
        if souped and job.stop <= self.settings.search.max_epochs:
            weights = {"model": checkpoint.weights(fitted.model)}
            checkpoint.write(folder / soup.INGREDIENT, checkpoint.Snapshot(result.epochs, {}, weights))
        noticed = tuple(finding.sentence for finding in result.findings)
        return Outcome(result.values, result.epochs, result.finished, result.seconds, noticed)

    def fit(
        self,
        candidate: Candidate,
        *,
        start: int,
        stop: int,
        resume: Path | None,
        save_to: Path,
        report: Report,
        save_epochs: bool = True,
    ) -> Fitted:
        """Build the candidate and fit it; the schedule's horizon is `training.epochs`.

        In the model that comes back `Precomputed` stands for every encoder whose features the cache has; `whole` puts
        the encoders in.

        Raises:
            TrialFailed: it cannot go on.
        """
        model, preprocessors = self._built(candidate)
        job = FitJob(
            model=model,
            task=self.task,
            train=self._inputs.part(self.learnt, candidate, preprocessors),
            valid=self._inputs.part(self.valid, candidate, preprocessors),
            extra=len(self.learnt) - len(self.train),
            seed=self.settings.seed,
            start_epoch=start,
            stop_epoch=stop,
            horizon=self.settings.training.epochs,
            settings=self.settings.training,
            checkpoint=resume,
            save_to=save_to,
            save_epochs=save_epochs,
        )
        result = build_solver(candidate).fit(job, report)
        give_back()
        write_gradients(save_to, result)
        return Fitted(model, preprocessors, result)

    def _built(self, candidate: Candidate) -> tuple[Model, dict[str, Preprocess]]:
        """The untrained model of a candidate, and the preprocessing of fields whose features are not kept."""
        kept = self._inputs.kept(candidate, self.schema)
        preprocessors = {
            field.name: fit_preprocess(candidate, field, self.learnt)
            for field in self.schema.inputs
            if field.name not in kept
        }
        model = build_model(
            candidate,
            self.schema,
            self.task,
            preprocessors=preprocessors,
            stand_ins={name: Precomputed(spec) for name, spec in kept.items()},
            seed=self.settings.seed,
        )
        return model, preprocessors

    def temperature(self, candidate: Candidate, state: Path) -> float:
        """What calibrates the fit that left `state`, to four digits; 1 where scores are no softmax.

        It is found on the validation rows, which that fit must not have learnt from.

        Raises:
            StudyError: the state is damaged, or another candidate's.
        """
        label_B = self.task.label_numbers(self.valid)
        if label_B is None:
            return 1.0
        model, preprocessors = self._built(candidate)
        tensors = checkpoint.read(state).tensors
        checkpoint.load_weights(model, tensors.get("best") or tensors["model"])
        part = self._inputs.part(self.valid, candidate, preprocessors)
        with deterministic(torch.device("cpu"), self.settings.training.threads):
            logits_BC = logits(model, part, batch_size=_MOST_ROWS)
        return round(calibration.temperature(logits_BC, label_B), 4)

    def whole(self, fitted: Fitted, candidate: Candidate) -> tuple[Model, dict[str, Preprocess]]:
        """A fitted model with all of its encoders, and every field's preprocessing: what can be exported."""
        encoders, preprocessors = {}, {}
        for field in self.schema.inputs:
            known = fitted.preprocessors.get(field.name)
            preprocessors[field.name] = known or fit_preprocess(candidate, field, self.learnt)
            if known is None:
                encoders[field.name] = build_encoder(candidate, field, preprocessors[field.name])
        return fitted.model.with_encoders(encoders), preprocessors

    def scores(
        self, model: Model, candidate: Candidate, table: Table, preprocessors: Mapping[str, Preprocess]
    ) -> np.ndarray:
        """What a whole model scores on a table, float32 [rows, C]; features that are kept are not computed again."""
        reader, part = self.reading(model, candidate, table, preprocessors)
        return scores(reader, self.task, part, batch_size=_MOST_ROWS)

    def reading(
        self, model: Model, candidate: Candidate, table: Table, preprocessors: Mapping[str, Preprocess]
    ) -> tuple[Model, Part]:
        """A whole model as it reads kept features, and a table in which they stand for what was encoded."""
        kept = self._inputs.kept(candidate, table.schema)
        stand_ins = {name: Precomputed(spec) for name, spec in kept.items()}
        part = self._inputs.part(table, candidate, {n: p for n, p in preprocessors.items() if n not in kept})
        return model.with_encoders(stand_ins), part

    def _specs(self, candidate: Candidate) -> list[FeatureSpec]:
        """What the encoders return, in order."""
        kept = self._inputs.kept(candidate, self.schema)
        out = []
        for field in self.schema.inputs:
            if field.name in kept:
                out.append(kept[field.name])
            else:
                preprocess = fit_preprocess(candidate, field, self.learnt)
                with torch.random.fork_rng(devices=[]):
                    out.append(build_encoder(candidate, field, preprocess).spec)
        return out

    def operations(self, candidate: Candidate) -> Operations:
        """What a candidate costs a training row; frozen encoders may be shared with candidates that read the same."""
        preprocessors = fit_preprocessors(candidate, self.schema, self.learnt)
        model = build_model(candidate, self.schema, self.task, preprocessors=preprocessors, seed=self.settings.seed)
        head = take(self.train, np.arange(min(_PROBE_ROWS, len(self.train))))
        stores = {name: FieldStore(name, p, head.columns[name], 0) for name, p in preprocessors.items()}
        part = Part.of(head, stores, self.task)
        batch = next(iter(part.loader(batch_size=len(head), shuffle=False, seed=0)))
        frozen = [field.name for field in self.schema.inputs if self._frozen(candidate, field)]
        return operations(model, batch, shared=frozen)

    def trial_folder(self, trial: int) -> Path:
        """Where a trial keeps its state."""
        return self.folder / f"{trial:04d}"

    @property
    def judged(self) -> Table:
        """The rows that candidates are judged by."""
        return self.valid

    def judged_scores(self, trial: int) -> np.ndarray:
        """What a trial that may become a member of an ensemble scored on those rows, float32 [rows, C]."""
        found: np.ndarray = np.load(self.trial_folder(trial) / _SCORES, allow_pickle=False)
        return found

    def souped_scores(self, trials: Sequence[Trial]) -> np.ndarray | None:
        """What the first of some trials would score on those rows with the mean of their weights, float32 [rows, C].

        None where that has no meaning: they are not the same network, or no network.
        """
        found = self._stirred(trials)
        if found is None:
            return None
        model, part = found
        with deterministic(device_of(model), self.settings.training.threads):
            return scores(model, self.task, part, batch_size=_MOST_ROWS)

    def souped_temperature(self, trials: Sequence[Trial]) -> float:
        """What calibrates the mean of trials that can be averaged, on the same rows; 1 where scores are no softmax."""
        label_B, found = self.task.label_numbers(self.valid), self._stirred(trials)
        if label_B is None or found is None:
            return 1.0
        model, part = found
        with deterministic(device_of(model), self.settings.training.threads):
            return round(calibration.temperature(logits(model, part, batch_size=_MOST_ROWS), label_B), 4)

    def _stirred(self, trials: Sequence[Trial]) -> tuple[Model, Part] | None:
        """The mean of trials as they were judged, and the validation rows as it reads them."""
        first = trials[0].candidate
        files = [self.trial_folder(trial.number) / soup.INGREDIENT for trial in trials]
        if not all(soup.same_network(first, trial.candidate) for trial in trials) or not all(map(Path.exists, files)):
            return None
        states = [checkpoint.read(file).tensors["model"] for file in files]
        if not soup.alike(states):
            return None
        model, preprocessors = self._built(first)
        checkpoint.load_weights(model, soup.mean(states))
        model.to(torch.device(device_name(self.settings.training)))
        return model, self._inputs.part(self.valid, first, preprocessors)

    def preprocessing(self, candidate: Candidate) -> dict[str, str]:
        """By field a name for what is done before the network, or for the whole encoder where that is frozen; equal
        names are equal functions."""
        names = {}
        for field in self.schema.inputs:
            names[field.name] = self._frozen(candidate, field) or digest(fit_preprocess(candidate, field, self.learnt))
        return names

    def _frozen(self, candidate: Candidate, field: FieldSpec) -> str | None:
        """A name for the function that a frozen encoder is, its preprocessing included; None where it is none."""
        component, options = encoder_of(candidate, field)
        identity: str | None = component.factory.identity(**options)
        return identity

    def state_of(self, trial: Trial) -> Path | None:
        """What a trial left when it was last measured; None where it is gone."""
        states = {int(state.stem): state for state in self.trial_folder(trial.number).glob("[0-9]*.safetensors")}
        if not states:
            return None
        return states.get(trial.epochs, states[max(states)])  # a fit that ended early lies under where it was to end

    def keep(self, trials: set[int]) -> None:
        """Drop the state of all other trials."""
        for folder in self.folder.glob("[0-9]*"):
            if int(folder.name) not in trials:
                shutil.rmtree(folder)


def only(table: Table, fields: tuple[str, ...] | None) -> Table:
    """A table with these input fields alone."""
    if fields is None:
        return table
    schema = Schema(tuple(f for f in table.schema.fields if f.role != "input" or f.name in fields))
    return replace(table, schema=schema, columns={name: table.columns[name] for name in fields})


def write_gradients(save_to: Path, result: FitResult) -> None:
    """The gradient log of a fit, beside its state."""
    log = {"history": result.history, "norms": result.norms, "findings": [asdict(f) for f in result.findings]}
    save_to.with_suffix(".json").write_text(json.dumps(log), encoding="utf-8")
