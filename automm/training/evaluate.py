"""What a model scores on a part, and the metrics of that.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from automm.errors import BrokenPlugin, TrialFailed
from automm.model import Model
from automm.tasks.task import Task
from automm.training.device import moved
from automm.training.fit import Part
from automm.types import Batch


def evaluate(model: Model, task: Task, part: Part, *, batch_size: int) -> dict[str, float]:
    """Every metric the task is measured by, over a part.

    Raises:
        TrialFailed: a metric by name raised, or what the search drives at is undefined for what the model scores.
    """
    found = scores(model, task, part, batch_size=batch_size)
    try:
        values = task.measure(found, part.table)
    except BrokenPlugin as error:
        raise TrialFailed(str(error)) from error
    if task.aim.metric not in values:
        raise TrialFailed(f"{task.aim.metric} is undefined for what the model scores on the validation rows")
    return values


def scores(model: Model, task: Task, part: Part, *, batch_size: int) -> np.ndarray:
    """`task.probabilities` of every row, float32 [rows, C], in the table's order; the model's mode is left as it was.

    Args:
        model: on any device.
        task: fitted.
        part: its rows may lack targets.
        batch_size: rows at a time.
    """
    loader = part.loader(batch_size=batch_size, shuffle=False, seed=0)
    return _collected(model, loader, len(part.table), lambda batch: task.probabilities(model(batch)))


def logits(model: Model, part: Part, *, batch_size: int) -> np.ndarray:
    """The logits of every row, float32 [rows, C], in the table's order."""
    loader = part.loader(batch_size=batch_size, shuffle=False, seed=0)
    return _collected(model, loader, len(part.table), model)


def fused_blocks(model: Model, part: Part, *, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers [B] and what the model's only head reads of those rows, float32 [B, D]; every row once."""
    loader = part.loader(batch_size=batch_size, shuffle=False, seed=0)
    return _blocks(model, loader, lambda batch: model.streams(batch)[0].pooled_BD)


def _collected(model: Model, loader: Iterable[Batch], rows: int, compute: Callable[[Batch], Tensor]) -> np.ndarray:
    """float32 [rows, D] of what `compute` makes of every batch, in the table's order."""
    out: np.ndarray | None = None
    for at_B, values_BD in _blocks(model, loader, compute):
        if out is None:
            out = np.full((rows, values_BD.shape[1]), np.nan, np.float32)
        out[at_B] = values_BD
    return np.empty((0, 0), np.float32) if out is None else out


def _blocks(
    model: Model, loader: Iterable[Batch], compute: Callable[[Batch], Tensor]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The row numbers of every batch, and float32 [B, D] of what `compute` makes of it."""
    device = device_of(model)
    for batch in loader:
        with evaluating(model), torch.inference_mode():
            values_BD = compute(moved(batch, device)).float().cpu().numpy()
        yield batch.index, values_BD


def device_of(model: Model) -> torch.device:
    """Where a model is."""
    return model.temperature.device


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode while the block runs."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
