"""What every task must keep.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from automm.data.packed import packed
from automm.data.split import joined
from automm.runtime.decode import decoder
from automm.tasks.task import Task
from automm.tasks.weighing import Weighing, balanced
from automm.testing import samples
from automm.testing.requirement import require
from automm.testing.subject import Subject
from automm.types import PAIR, Column, FieldSpec, Schema, Table

_READ = {  # by what targets are: their type and their axes
    "classes": (np.dtype(np.int64), 1),
    "labels": (np.dtype(np.bool_), 2),
    "numbers": (np.dtype(np.float64), 1),
    "shares": (np.dtype(np.float32), 2),
}
_TARGETS = ["yes", "no", "yes", "2", "yes", "no", "2", "yes"]


def check_learns_labels(under_test: Subject) -> None:
    """`fit` learns labels and a goal from the training table; its state is plain JSON that restores it."""
    task, table = _fitted(under_test)
    require(task.goal.direction in ("maximize", "minimize"), f"the goal's direction is {task.goal.direction!r}")
    state = json.loads(json.dumps(task.state()))
    again = under_test.build()
    again.restore(state)
    require(again.labels == task.labels and again.goal == task.goal, "a restored task has other labels or another goal")
    left, right = task.targets(table), again.targets(table)
    require(list(left) == list(right) and all(np.array_equal(left[k], right[k]) for k in left), "targets change too")
    dense = replace(table, targets=packed(list(table.targets), least=1), ids=packed(list(table.ids), least=1))
    right = task.targets(dense)
    require(
        all(np.array_equal(left[k], right[k]) for k in left), "targets change where they are an Arrow array, no list"
    )
    for name, array in left.items():
        require(len(array) == len(table), f"the targets {name!r} have {len(array)} entries for {len(table)} rows")


def check_learns_from_logits(under_test: Subject) -> None:
    """Head, loss and probabilities fit together; the loss is a finite scalar that falls along its gradient."""
    task, table = _fitted(under_test)
    targets = {name: torch.from_numpy(array) for name, array in task.targets(table).items()}
    x = torch.randn(len(table), 6, generator=torch.Generator().manual_seed(0))
    for hidden in (0, 5):
        torch.manual_seed(0)
        head = task.head(6, hidden=hidden, dropout=0.0)
        require(isinstance(head, nn.Module), "head is no module")
        logits = head(x)
        require(logits.shape == (len(table), task.outputs((6,))), f"logits are {tuple(logits.shape)}")
        scores = task.probabilities(logits)
        require(scores.shape == logits.shape and bool(torch.isfinite(scores).all()), "probabilities are not [B, C]")
        optimizer = torch.optim.SGD(head.parameters(), lr=0.05)
        losses = []
        for _ in range(5):
            loss = task.loss(head(x), targets, label_smoothing=0.0)
            require(loss.shape == () and bool(torch.isfinite(loss)), f"the loss is {loss}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        require(losses[-1] < losses[0], f"the loss goes from {losses[0]:.4f} to {losses[-1]:.4f} along its gradient")
        smoothed = float(task.loss(head(x), targets, label_smoothing=0.1).detach())
        require(np.isfinite(smoothed), "the loss with label smoothing is not finite")


def check_weighs(under_test: Subject) -> None:
    """Where there is a weighed loss: weighing nothing gives the loss, weights and focal factor a finite one."""
    task, table = _fitted(under_test)
    if not task.weighs:
        return
    targets = {name: torch.from_numpy(array) for name, array in task.targets(table).items()}
    logits = torch.randn(len(table), len(task.labels), generator=torch.Generator().manual_seed(0)).requires_grad_()

    def loss(weighing: Weighing | None = None, smoothing: float = 0.0) -> torch.Tensor:
        if weighing is None:
            return task.loss(logits, targets, label_smoothing=smoothing)
        return task.weighed_loss(logits, targets, label_smoothing=smoothing, weighing=weighing)

    for smoothing in (0.0, 0.1):
        plain, same = float(loss(None, smoothing).detach()), float(loss(Weighing(), smoothing).detach())
        require(math.isclose(plain, same, rel_tol=1e-5), f"the loss is {plain:.4f}, weighing nothing it is {same:.4f}")
    weight_C = torch.from_numpy(balanced(task.majority(table, 1)[0]))
    once, twice = (float(loss(Weighing(weight_C * factor)).detach()) for factor in (1, 2))
    require(twice > once, f"with class weights the loss is {once:.4f}, with twice as much {twice:.4f}")
    focal = loss(Weighing(focal_gamma=0.5))
    require(bool(focal < loss()), "a focal factor lessens no loss")
    focal.backward()
    require(logits.grad is not None and bool(torch.isfinite(logits.grad).all()), "the focal gradient is not finite")


def check_metrics(under_test: Subject) -> None:
    """The goal's metric, `loss`, and every metric by group; perfect scores are better than the majority's."""
    task, table = _fitted(under_test)
    perfect, majority = task.perfect(table), task.majority(table, len(table))
    for scores in (perfect, majority):  # vectors may be of any width, as long as they are two
        wide = scores.ndim == 2 and (scores.shape[1] % 2 == 0 if task.PAIRS else scores.shape[1] == len(task.labels))
        require(wide and len(scores) == len(table), f"scores are {perfect.shape} and {majority.shape}")
    best, base = task.metrics(perfect, table), task.metrics(np.asarray(majority), table)
    goal = task.goal.metric
    for values in (best, base):
        require(goal in values and "loss" in values, f"metrics are {sorted(values)}; the goal is {goal!r}")
        require(all(np.isfinite(v) for v in values.values()), f"a metric is not finite: {values}")
        for group in ("even", "odd"):
            require(f"{goal}/{group}" in values, f"there is no {goal}/{group} among {sorted(values)}")
    sign = 1 if task.goal.direction == "maximize" else -1
    require(sign * best[goal] > sign * base[goal], f"{goal} is {best[goal]} at best and {base[goal]} by majority")
    listed = {each.metric for each in task.goals}
    unlisted = {name for name in best if "/" not in name} - listed if listed else set()
    require(not unlisted, f"metrics are {sorted(best)}, and `goals` does not list {sorted(unlisted)}")
    require(best["loss"] < base["loss"], f"loss is {best['loss']} at best and {base['loss']} by majority")


def check_label_numbers(under_test: Subject) -> None:
    """Where scores are a softmax, a row's label number is the output that perfect scores answer with."""
    task, table = _fitted(under_test)
    label_B = task.label_numbers(table)
    if label_B is None:
        return
    require(np.array_equal(label_B, task.perfect(table).argmax(axis=1)), "label numbers are not the perfect answers")
    scores_BC = task.probabilities(
        torch.randn(len(table), len(task.labels), generator=torch.Generator().manual_seed(0))
    )
    require(bool((scores_BC.sum(dim=1) - 1).abs().max() < 1e-5), "there are label numbers, and scores do not sum to 1")


def check_compared(under_test: Subject) -> None:
    """A fitted task that gives metrics by name something to read gives one kind of targets, a row each, as it says."""
    task, table = _fitted(under_test)
    if not task.gives:
        return
    require(len(task.gives) == 1, f"a fitted task gives {task.gives}, not one kind of targets")
    dtype, axes = _READ[task.gives[0]]
    scores_BC, targets = task.compared(task.perfect(table), table)
    found = (targets.dtype, targets.ndim, len(targets), len(scores_BC))
    require(found == (dtype, axes, len(table), len(table)), f"{task.gives[0]} are {targets.dtype} {targets.shape}")
    require(axes == 1 or targets.shape == scores_BC.shape, f"scores are {scores_BC.shape}, targets {targets.shape}")


def check_extra_rows(under_test: Subject) -> None:
    """What a task adds to training rows, one of whose fields is a text, has their columns, and answers it knows."""
    task, table = _fitted(under_test)
    said = Column([f"row {at}" for at in range(len(table))], np.arange(len(table)))
    schema = Schema((*table.schema.fields, FieldSpec("said", "text")))
    table = replace(table, schema=schema, columns={**table.columns, "said": said})
    extra = task.extra_rows(table)
    if extra is None:
        return
    require(extra.columns.keys() == table.columns.keys(), f"extra rows have the columns {sorted(extra.columns)}")
    require(extra.groups.keys() == table.groups.keys(), f"extra rows have the groups {sorted(extra.groups)}")
    for name, array in task.targets(joined(table, extra)).items():
        require(len(array) == len(table) + len(extra), f"with extra rows the targets {name!r} are {len(array)}")
    require(not task.unseen(extra), f"extra rows have classes that no training row has: {task.unseen(extra)[:3]}")


def check_answers(under_test: Subject) -> None:
    """Predictions and results are plain JSON; a bundle decodes alike; the perfect answers are not wrong."""
    task, table = _fitted(under_test)
    perfect = task.perfect(table)
    decoded = [task.decode(scores_C) for scores_C in perfect]
    served = [decoder(task.DECODE)(scores_C, task.labels, 0)["answer"] for scores_C in perfect]
    require(served == decoded, f"a bundle that decodes by {task.DECODE!r} answers {served[:3]}, not {decoded[:3]}")
    predictions = task.predictions(perfect, table)
    for answer, target in zip(predictions, table.targets, strict=True):
        require(task.right(answer, target) is not False, f"the perfect answer {answer!r} to {target!r} counts as wrong")
    results = task.answers(predictions, table)
    require(json.loads(json.dumps(results)) == results, "results are not plain JSON")
    require(len(results) == len(table), f"there are {len(results)} results for {len(table)} rows")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_learns_labels,
    check_learns_from_logits,
    check_weighs,
    check_metrics,
    check_label_numbers,
    check_compared,
    check_extra_rows,
    check_answers,
)


def _fitted(under_test: Subject) -> tuple[Task, Table]:
    task = under_test.build()
    require(isinstance(task, Task), "it is no automm Task")
    targets = [PAIR] * len(_TARGETS) if task.PAIRS else _TARGETS
    table = samples.table(targets if under_test.values is None else under_test.values)
    task.fit(table)
    return task, table
