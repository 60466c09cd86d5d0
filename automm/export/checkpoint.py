"""A trained model on disk: weights as safetensors, everything else as JSON, preprocessing assets and a few raw rows.

The folder is written beside its place and renamed into it, so that what is there is always whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from automm import registry
from automm.building import build_model
from automm.ensemble import Ensemble
from automm.errors import StudyError
from automm.model import Model
from automm.runtime.kinds import load_preprocess, save_preprocess
from automm.runtime.preprocess import Preprocess
from automm.runtime.rows import ROWS, read_rows, write_rows
from automm.settings import ComponentSettings
from automm.space import Candidate
from automm.tasks.task import Task
from automm.training.checkpoint import resize_like, shapes_in
from automm.types import FieldSpec, Schema

FORMAT = 1
_META = "model.json"
_WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Trained:
    """A trained model and all that is needed to rebuild, serve or export it without its data set."""

    model: Model | Ensemble
    task: Task
    task_settings: ComponentSettings
    schema: Schema
    candidate: Candidate
    preprocessors: Mapping[str, Preprocess]
    rows: Sequence[Mapping[str, Any]]  # raw rows that exports are proved on; become a bundle's golden rows
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # by split
    members: tuple[Trained, ...] = ()  # of an ensemble, as its weights are ordered
    soup: int = 0  # models that it has the mean weights of


def save_model(folder: Path, trained: Trained) -> None:
    """Write `trained` as `folder`, replacing what is there once the new one is whole.

    Raises:
        DataError: a raw row cannot be stored.
    """
    with replacing(folder) as partial:
        assets = {}
        for number, (name, preprocess) in enumerate(trained.preprocessors.items()):
            place = f"preprocess/{number}"
            assets[name] = {**save_preprocess(preprocess, partial / place), "folder": place}
        write_rows(partial / "rows", trained.rows, {f.name: f.modality for f in trained.schema.inputs})
        safetensors.torch.save_model(trained.model, str(partial / _WEIGHTS))
        meta = {
            "format": FORMAT,
            "task": {"name": trained.task_settings.name, "options": dict(trained.task_settings.options)},
            "task_state": trained.task.state(),
            "schema": [vars(spec) for spec in trained.schema.fields],
            "candidate": trained.candidate,
            "preprocess": assets,
            "metrics": trained.metrics,
        }
        (partial / _META).write_text(json.dumps(meta, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_model(folder: Path) -> Trained:
    """The inverse of `save_model`, on the CPU and in evaluation mode.

    Raises:
        StudyError: nothing was saved there, or it is damaged.
    """
    if not (folder / _META).is_file():
        raise StudyError(
            f"no trained model is saved in {folder}. Next: let the run finish (same command, same run.dir)."
        )
    try:
        return _load(folder)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise StudyError(f"the model saved in {folder} cannot be read: {error!r}. Next: run again.") from error


def _load(folder: Path) -> Trained:
    meta = json.loads((folder / _META).read_text(encoding="utf-8"))
    if meta["format"] != FORMAT:
        raise StudyError(
            f"{folder} has checkpoint format {meta['format']}, this automm reads {FORMAT}. Next: upgrade automm."
        )
    settings = ComponentSettings(meta["task"]["name"], meta["task"]["options"])
    task: Task = registry.get("task", settings.name).factory(**settings.options)
    task.restore(meta["task_state"])
    schema = Schema(tuple(FieldSpec(**spec) for spec in meta["schema"]))
    preprocessors = {
        name: load_preprocess(folder / saved["folder"], saved["kind"], saved["config"])
        for name, saved in meta["preprocess"].items()
    }
    model = build_model(meta["candidate"], schema, task, preprocessors=preprocessors)
    resize_like(model, shapes_in(folder / _WEIGHTS))
    safetensors.torch.load_model(model, str(folder / _WEIGHTS))
    model.eval()
    rows = read_rows((folder / "rows" / ROWS).read_text(encoding="utf-8"), lambda name: folder / "rows" / name)
    return Trained(model, task, settings, schema, meta["candidate"], preprocessors, rows, meta["metrics"])


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A fresh folder to write into, which becomes `folder` when the block ends well and vanishes when it does not."""
    partial = folder.with_name(f".{folder.name}.partial")
    former = folder.with_name(f".{folder.name}.former")
    if former.exists() and not folder.exists():  # killed between the two renames below
        former.rename(folder)
    for left_over in (partial, former):
        shutil.rmtree(left_over, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            folder.rename(former)
        partial.rename(folder)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
