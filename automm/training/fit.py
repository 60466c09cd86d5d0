"""What a solver is given and what it gives back: plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from automm.data.field_store import Store
from automm.data.loading import Loader
from automm.model import Model
from automm.settings import TrainingSettings
from automm.tasks.task import Task
from automm.training.monitor import Finding
from automm.types import Batch, Table


class Batches(Protocol):
    """A pass over a table, again and again: every row once, in an order that the seed and the epoch decide."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""

    def __iter__(self) -> Iterator[Batch]:
        """The pass."""


class LoaderFactory(Protocol):
    """Makes passes over one table; the solver decides how many rows make a batch."""

    def __call__(self, *, batch_size: int, shuffle: bool, seed: int) -> Batches:
        """`batch_size` counts rows."""


@dataclass(frozen=True)
class Part:
    """One split as a solver reads it."""

    table: Table
    loader: LoaderFactory
    group_by: str | None = None  # the field whose items a batch holds whole

    @classmethod
    def of(cls, table: Table, stores: Mapping[str, Store], task: Task, *, group_by: str | None = None) -> Self:
        """A part read through the stores of its fields.

        Args:
            table: the split.
            stores: by input field.
            task: makes the targets.
            group_by: the field whose distinct items are costly to encode; rows that share one stay together.
        """
        known = any(target is not None for target in table.targets)  # a test set may keep its answers to itself
        targets: dict[str, np.ndarray] = task.targets(table) if known else {}

        def loader(*, batch_size: int, shuffle: bool, seed: int) -> Batches:
            return Loader(
                table, dict(stores), targets, batch_size=batch_size, shuffle=shuffle, seed=seed, group_by=group_by
            )

        return cls(table, loader, group_by)


@dataclass(frozen=True)
class FitJob:
    """Fit a model from `start_epoch` epochs done to `stop_epoch`, on curves drawn over `horizon` epochs."""

    model: Model
    task: Task
    train: Part
    valid: Part
    seed: int
    start_epoch: int
    stop_epoch: int
    horizon: int  # what schedules are drawn over, so that a paused trial continues on the same curve
    settings: TrainingSettings
    checkpoint: Path | None = None  # the file to continue from; needed where start_epoch > 0
    extra: int = 0  # the last training rows, which the task added: nothing that is judged looks like them
    save_to: Path | None = None  # a Snapshot to keep up to date after every epoch: its `best`, else its `model`, counts
    save_epochs: bool = True  # False: who is cut short begins again, so that the last epoch need be saved alone


@dataclass(frozen=True)
class FitResult:
    """How a fit ended. The model holds the weights of `best_epoch`, and `values` are theirs."""

    values: dict[str, float]
    last: dict[str, float]  # validation metrics after the last epoch
    epochs: int  # epochs done in all
    best_epoch: int
    finished: bool  # further epochs would change nothing: the horizon is reached, patience ran out, a closed form
    seconds: float  # of this fit, checkpoints and validation included
    history: list[dict[str, float]] = field(default_factory=list)  # one an epoch: epoch, train_loss, lr, metrics
    norms: list[dict[str, float]] = field(default_factory=list)  # sampled: epoch (a fraction), total, one a branch
    findings: list[Finding] = field(default_factory=list)
