"""What a search calls to judge a candidate: build, fit, evaluate. Data that candidates share is prepared once.

A trial's state lies in `<folder>/<trial>/<epochs>.safetensors` (and its gradient log beside it as JSON) for every rung
it was paused at, so that a job that was cut short finds where it began.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from automm.data.loading import FieldStore
from automm.model import Model, build_model, build_solver, fit_preprocessors, incompatible
from automm.runtime.kinds import save_preprocess
from automm.runtime.preprocess import Preprocess
from automm.search.trial import Job, Outcome, Report
from automm.settings import Settings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training.fit import FitJob, FitResult, Part
from automm.types import Schema, Splits, Table

CACHE_BYTES = 4 << 30  # preprocessed values of one field of one split that stay in memory
_PROBE_ROWS = 64  # rows whose operations are counted
_SHARED = 0.9  # a field is worth grouping by when distinct items are at most this share of the rows


@dataclass(frozen=True)
class Fitted:
    """A candidate after a fit."""

    model: Model
    preprocessors: Mapping[str, Preprocess]
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
        self.schema = self.train.schema
        self._stores: dict[str, FieldStore] = {}

    def check(self, candidate: Candidate) -> str | None:
        """Why a hard constraint forbids the candidate: parts that do not fit, or too many operations a row."""
        preprocessors = fit_preprocessors(candidate, self.schema, self.train)
        reason = incompatible(candidate, self.schema, preprocessors)
        limit = self.settings.search.max_gflop
        if reason is not None or limit is None:
            return reason
        gflop = self.gflop(candidate, preprocessors)
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
        return Outcome(result.values, result.epochs, result.finished, result.seconds)

    def fit(
        self, candidate: Candidate, *, start: int, stop: int, resume: Path | None, save_to: Path, report: Report
    ) -> Fitted:
        """Build the candidate and fit it; the schedule's horizon is `training.epochs`.

        Raises:
            TrialFailed: it cannot go on.
        """
        preprocessors = fit_preprocessors(candidate, self.schema, self.train)
        model = build_model(candidate, self.schema, self.task, preprocessors=preprocessors, seed=self.settings.seed)
        job = FitJob(
            model=model,
            task=self.task,
            train=self.part(self.train, preprocessors),
            valid=self.part(self.valid, preprocessors),
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

    def part(self, table: Table, preprocessors: Mapping[str, Preprocess]) -> Part:
        """A table as a solver reads it; preprocessed values are shared between candidates that preprocess alike."""
        stores = {name: self._store(table, name, each) for name, each in preprocessors.items()}
        return Part.of(table, stores, self.task, group_by=costly_field(table))

    def gflop(self, candidate: Candidate, preprocessors: Mapping[str, Preprocess]) -> float:
        """Forward operations for one training row, shared work (an image of many questions) shared out, in 10^9."""
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

    def keep(self, trials: set[int]) -> None:
        """Drop the state of all other trials."""
        for folder in self.folder.glob("[0-9]*"):
            if int(folder.name) not in trials:
                shutil.rmtree(folder)

    def _store(self, table: Table, field: str, preprocess: Preprocess) -> FieldStore:
        split = "train" if table is self.train else "valid" if table is self.valid else "other"
        if split == "other":
            return FieldStore(field, preprocess, table.columns[field], CACHE_BYTES)
        key = f"{split}/{field}/{digest(preprocess)}"
        if key not in self._stores:
            self._stores = {k: s for k, s in self._stores.items() if not k.startswith(f"{split}/{field}/")}
            self._stores[key] = FieldStore(field, preprocess, table.columns[field], CACHE_BYTES)
        return self._stores[key]


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
        if f.modality in ("image", "audio")
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
