"""What every solver must keep.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from automm.building import build_model, fit_preprocessors
from automm.data.field_store import FieldStore
from automm.settings import TrainingSettings
from automm.space import Candidate
from automm.tasks.classification import Classification
from automm.testing.requirement import require
from automm.testing.subject import Subject
from automm.training.fit import FitJob, FitResult, Part
from automm.training.solver import Solver
from automm.types import Column, FieldSpec, Schema, Table

_EPOCHS = 3
_WORDS = ("red", "blue", "left", "right", "one", "two", "small", "big")


def check_seams(under_test: Subject) -> None:
    """`refuses` answers None or a sentence, and the head of a stream has the task's shape."""
    solver, candidate = under_test.build(), _candidate(under_test)
    require(isinstance(solver, Solver), "it is no automm Solver")
    reason = solver.refuses(candidate)
    require(reason is None or bool(reason.strip()), f"refuses gave {reason!r}")
    task = Classification()
    task.fit(_table(8))
    head = solver.head(task, 6)
    require(isinstance(head, nn.Module), "head is no module")
    require(head(torch.zeros(3, 6)).shape == (3, 2), "the head's logits are not [B, C]")


def check_fits(under_test: Subject) -> None:
    """It learns what a table of texts plainly says: better than the majority, with a report and a result to match."""
    reports: list[tuple[int, dict[str, float]]] = []
    result, task = _fit(under_test, lambda epoch, values: reports.append((epoch, values)))
    epochs = [epoch for epoch, _ in reports]
    require(bool(epochs) and epochs == sorted(set(epochs)), f"reports came for the epochs {epochs}")
    for values in (result.values, result.last, reports[-1][1]):
        require(task.goal.metric in values and "loss" in values, f"validation metrics are {sorted(values)}")
        require(all(math.isfinite(v) for v in values.values()), f"a validation metric is not finite: {values}")
    valid = _table(16, seed=1)
    base = task.metrics(np.asarray(task.majority(_table(64), len(valid))), valid)["loss"]
    require(result.values["loss"] < base, f"loss is {result.values['loss']:.3f}, that of the majority {base:.3f}")
    require(result.finished, "the horizon is reached, and the fit says it is not finished")
    require(result.epochs >= 1 and result.best_epoch <= result.epochs, f"{result.best_epoch=} of {result.epochs=}")


def check_is_seeded(under_test: Subject) -> None:
    """The same job twice gives the same numbers."""
    first, second = (_fit(under_test, lambda *_: None)[0].values for _ in range(2))
    require(first == second, f"two fits of one job gave {first} and {second}")


CHECKS: tuple[Callable[[Subject], None], ...] = (check_seams, check_fits, check_is_seeded)


def _candidate(under_test: Subject) -> Candidate:
    """A bag of words, concatenated, and the solver's defaults at a batch that a small table fills several times."""
    training = {**under_test.component.space.defaults(), **under_test.options}
    if "batch_size" in training:
        training["batch_size"] = 8
    if "lr" in training:
        training["lr"] = 0.01
    return {
        "encoder.text.name": "text_transformer",
        "encoder.text.options.text_transformer.layers": 0,
        "encoder.text.options.text_transformer.width": 16,
        "fusion.name": "concat",
        "training.solver": under_test.component.name,
        **{f"training.{path}": value for path, value in training.items()},
    }


def _fit(under_test: Subject, report: Callable[[int, dict[str, float]], None]) -> tuple[FitResult, Classification]:
    train, valid, candidate = _table(64), _table(16, seed=1), _candidate(under_test)
    task = Classification()
    task.fit(train)
    preprocessors = fit_preprocessors(candidate, train.schema, train)
    model = build_model(candidate, train.schema, task, preprocessors=preprocessors, seed=0)
    options = {k.removeprefix("training."): v for k, v in candidate.items() if k.startswith("training.")}
    solver = under_test.factory(**{k: v for k, v in options.items() if k != "solver"})
    parts = [
        Part.of(t, {f: FieldStore(f, p, t.columns[f], 1 << 20) for f, p in preprocessors.items()}, task)
        for t in (train, valid)
    ]
    job = FitJob(
        model=model,
        task=task,
        train=parts[0],
        valid=parts[1],
        seed=0,
        start_epoch=0,
        stop_epoch=_EPOCHS,
        horizon=_EPOCHS,
        settings=TrainingSettings(_EPOCHS, patience=None, device="cpu", precision="32-true", threads=1),
    )
    result: FitResult = solver.fit(job, report)
    return result, task


def _table(rows: int, *, seed: int = 0) -> Table:
    """Short texts; the class is which of two words is in them."""
    random = np.random.default_rng(seed)
    texts = [f"{a} {b} {c}" for a, b, c in itertools.product(_WORDS, ("cat", "dog"), _WORDS)]
    index = random.permutation(len(texts))[:rows].astype(np.int64)
    targets = ["cat" if "cat" in texts[at] else "dog" for at in index]
    return Table(Schema((FieldSpec("text", "text"),)), {"text": Column(texts, index)}, targets, list(range(rows)))
