"""What a search calls to judge a candidate: build, fit, evaluate. Data that candidates share is prepared once.

A trial's state lies in `<folder>/<trial>/<epochs>.safetensors` (and its gradient log beside it as JSON) for every rung
it was paused at, so that a job that was cut short finds where it began.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from automm import paths, registry
from automm.data.features import FeatureCache
from automm.data.file_memo import FOLDER
from automm.data.loading import FieldStore, Store
from automm.data.split import joined
from automm.encoders.precomputed import Precomputed
from automm.errors import OutOfRange
from automm.model import (
    Model,
    build_encoder,
    build_model,
    build_solver,
    encoder_of,
    fit_preprocess,
    fit_preprocessors,
    incompatible,
)
from automm.runtime.kinds import save_preprocess
from automm.runtime.preprocess import Preprocess
from automm.settings import Settings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training import calibration, checkpoint
from automm.training.determinism import deterministic
from automm.training.device import device_name
from automm.training.evaluate import logits, scores
from automm.training.fit import FitJob, FitResult, Part
from automm.training.frozen import FrozenFeatures
from automm.trial import Job, Outcome, Report, Trial
from automm.types import FILES, FeatureSpec, FieldSpec, Schema, Splits, Table

CACHE_BYTES = 1 << 30  # preprocessed values of one field of one split that stay in memory
_MOST_ROWS = 2048  # rows at a time when nothing is learnt
_PROBE_ROWS = 64  # rows whose operations are counted
_SCORES = "valid.npy"  # beside a trial's state, where an ensemble may be made of it
_SHARED = 0.9  # a field is worth grouping by when distinct items are at most this share of the rows


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
        self.frozen = FrozenFeatures(FeatureCache(settings.cache_dir / FOLDER, settings.cache_bytes), settings.training)
        self._stores: dict[str, Store] = {}

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
        if reason is None:
            reason = self._too_dear(candidate)
        if reason is None:
            for name in self._kept(candidate, self.schema):
                for table in (self.learnt, self.valid):
                    self._features(table, self.schema[name], candidate)
        return reason

    def _too_dear(self, candidate: Candidate) -> str | None:
        limit = self.settings.search.max_gflop
        if limit is None:
            return None
        gflop = self.gflop(candidate, fit_preprocessors(candidate, self.schema, self.learnt))
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
        )
        result = fitted.result
        if self.settings.search.ensemble > 1 and job.stop <= self.settings.search.max_epochs:
            part = self._part(self.valid, job.candidate, fitted.preprocessors)
            with deterministic(torch.device(device_name(self.settings.training)), self.settings.training.threads):
                np.save(folder / _SCORES, scores(fitted.model, self.task, part, batch_size=_MOST_ROWS))
        noticed = tuple(finding.sentence for finding in result.findings)
        return Outcome(result.values, result.epochs, result.finished, result.seconds, noticed)

    def fit(
        self, candidate: Candidate, *, start: int, stop: int, resume: Path | None, save_to: Path, report: Report
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
            train=self._part(self.learnt, candidate, preprocessors),
            valid=self._part(self.valid, candidate, preprocessors),
            extra=len(self.learnt) - len(self.train),
            seed=self.settings.seed,
            start_epoch=start,
            stop_epoch=stop,
            horizon=self.settings.training.epochs,
            settings=self.settings.training,
            checkpoint=resume,
            save_to=save_to,
        )
        result = build_solver(candidate).fit(job, report)
        write_gradients(save_to, result)
        return Fitted(model, preprocessors, result)

    def _built(self, candidate: Candidate) -> tuple[Model, dict[str, Preprocess]]:
        """The untrained model of a candidate, and the preprocessing of fields whose features are not kept."""
        kept = self._kept(candidate, self.schema)
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
        part = self._part(self.valid, candidate, preprocessors)
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
        kept = self._kept(candidate, table.schema)
        stand_ins = {name: Precomputed(spec) for name, spec in kept.items()}
        part = self._part(table, candidate, {n: p for n, p in preprocessors.items() if n not in kept})
        return model.with_encoders(stand_ins), part

    def _specs(self, candidate: Candidate) -> list[FeatureSpec]:
        """What the encoders return, in order."""
        kept = self._kept(candidate, self.schema)
        out = []
        for field in self.schema.inputs:
            if field.name in kept:
                out.append(kept[field.name])
            else:
                preprocess = fit_preprocess(candidate, field, self.learnt)
                with torch.random.fork_rng(devices=[]):
                    out.append(build_encoder(candidate, field, preprocess).spec)
        return out

    def _kept(self, candidate: Candidate, schema: Schema) -> dict[str, FeatureSpec]:
        """The fields whose features the cache keeps, with what is kept."""
        found = {}
        changing = {"image"} if candidate.get("training.augment", "none") != "none" else set[str]()
        for field in schema.inputs:
            if field.modality in changing:
                continue
            values = sum(len(table.columns[field.name].values) for table in (self.learnt, self.valid))
            spec = self.frozen.spec(candidate, field, values=values, tokens=_reads_tokens(candidate))
            if spec is not None:
                found[field.name] = spec
        return found

    def _part(self, table: Table, candidate: Candidate, preprocessors: Mapping[str, Preprocess]) -> Part:
        """A table as a solver reads it; fields without a preprocessing are read as features."""
        stores: dict[str, Store] = {}
        for field in table.schema.inputs:
            preprocess = preprocessors.get(field.name)
            if preprocess is None:
                stores[field.name] = self._features(table, field, candidate)
            else:
                stores[field.name] = self._store(table, field.name, preprocess)
        return Part.of(table, stores, self.task, group_by=costly_field(table))

    def _features(self, table: Table, field: FieldSpec, candidate: Candidate) -> Store:
        tokens = _reads_tokens(candidate)
        section = f"{paths.section_of(field, candidate)}."
        encoder = {path: value for path, value in candidate.items() if path.startswith(section)}
        key = f"{tokens} {json.dumps(encoder, sort_keys=True)}"
        return self._shared(
            table,
            field.name,
            key,
            lambda: self.frozen.store(candidate, field, table.columns[field.name], tokens=tokens, memory=CACHE_BYTES),
        )

    def gflop(self, candidate: Candidate, preprocessors: Mapping[str, Preprocess]) -> float:
        """Forward operations for one training row, shared work (an image of many questions) shared out, in 10^9."""
        from torch.utils.flop_counter import FlopCounterMode  # brings a compiler along

        model = build_model(candidate, self.schema, self.task, preprocessors=preprocessors, seed=self.settings.seed)
        head = replace_rows(self.train, _PROBE_ROWS)
        stores = {name: FieldStore(name, p, head.columns[name], 0) for name, p in preprocessors.items()}
        part = Part.of(head, stores, self.task)
        batch = next(iter(part.loader(batch_size=len(head), shuffle=False, seed=0)))
        model.eval().requires_grad_(False)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(batch)
        return float(counter.get_total_flops()) / len(batch) / 1e9

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

    def preprocessing(self, candidate: Candidate) -> dict[str, str]:
        """By field a name for what is done before the network, or for the whole encoder where that is frozen; equal
        names are equal functions."""
        names = {}
        for field in self.schema.inputs:
            component, options = encoder_of(candidate, field)
            frozen = component.factory.identity(**options)
            names[field.name] = frozen or digest(fit_preprocess(candidate, field, self.learnt))
        return names

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

    def _store(self, table: Table, field: str, preprocess: Preprocess) -> Store:
        column = table.columns[field]
        return self._shared(
            table, field, digest(preprocess), lambda: FieldStore(field, preprocess, column, CACHE_BYTES)
        )

    def _shared(self, table: Table, field: str, key: str, make: Callable[[], Store]) -> Store:
        """The store of a field of a split, the last one made where it is the same."""
        split = "train" if table is self.learnt else "valid" if table is self.valid else "other"
        if split == "other":
            return make()
        key = f"{split}/{field}/{key}"
        if key not in self._stores:
            self._stores = {k: s for k, s in self._stores.items() if not k.startswith(f"{split}/{field}/")}
            self._stores[key] = make()
        return self._stores[key]


def _reads_tokens(candidate: Candidate) -> bool:
    """Whether the candidate's fusion reads tokens, or vectors alone."""
    return bool(registry.get("fusion", str(candidate["fusion.name"])).factory.TOKENS)


def only(table: Table, fields: tuple[str, ...] | None) -> Table:
    """A table with these input fields alone."""
    if fields is None:
        return table
    schema = Schema(tuple(f for f in table.schema.fields if f.role != "input" or f.name in fields))
    return replace(table, schema=schema, columns={name: table.columns[name] for name in fields})


def replace_rows(table: Table, rows: int) -> Table:
    """The first rows of a table."""
    rows = min(rows, len(table))
    return replace(
        table,
        columns={name: replace(c, index=c.index[:rows]) for name, c in table.columns.items()},
        targets=table.targets[:rows],
        ids=table.ids[:rows],
        groups={name: g[:rows] for name, g in table.groups.items()},
    )


def costly_field(table: Table) -> str | None:
    """The image or audio field that rows share most, whose rows are worth keeping in one batch; None when none is."""
    shares = {
        f.name: len(table.columns[f.name].values) / max(len(table), 1)
        for f in table.schema.inputs
        if f.modality in FILES
    }
    name = min(shares, key=lambda n: shares[n], default=None)
    return name if name is not None and shares[name] <= _SHARED else None


def digest(preprocess: Preprocess) -> str:
    """A name for what a preprocessing does: equal for equal configurations and assets."""
    with tempfile.TemporaryDirectory() as folder:
        config = save_preprocess(preprocess, Path(folder))
        found = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for asset in sorted(Path(folder).rglob("*")):
            if asset.is_file():
                found.update(asset.read_bytes())
    return found.hexdigest()


def write_gradients(save_to: Path, result: FitResult) -> None:
    """The gradient log of a fit, beside its state."""
    log = {"history": result.history, "norms": result.norms, "findings": [asdict(f) for f in result.findings]}
    save_to.with_suffix(".json").write_text(json.dumps(log), encoding="utf-8")
