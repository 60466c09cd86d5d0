"""How much a model relies on each of its inputs: what it scores without one, and with one shuffled among the rows.

Items are encoded once. A removed field is the model's own missing item in every row; a shuffled one is the same items
in another order (permutation importance: Breiman 2001, and as model reliance Fisher et al. 2019, arXiv:1801.01489).

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from automm.data.split import take
from automm.model import Model
from automm.tasks.task import Task
from automm.training.device import moved
from automm.training.evaluate import device_of, evaluating
from automm.training.fit import Part
from automm.types import Goal, Schema, Table

REPEATS = 5  # orders each input is shuffled into
_MOST_ROWS, _LEAST_ROWS = 2048, 256
_SCORINGS = 60_000  # rows scored in all; where that leaves fewer than the least, more are


@dataclass(frozen=True)
class Drop:
    """How much worse the goal's metric becomes; below 0 where it becomes better."""

    mean: float
    spread: float  # the standard deviation over the repeats


@dataclass(frozen=True)
class Reliance:
    """What a model scores on some rows, and what is left of that. Inputs are named as by `inputs_of`."""

    metric: str  # what drops are of
    whole: dict[str, float]  # every metric with all inputs
    removed: dict[str, dict[str, float]]  # every metric, by the input that is removed
    importance: dict[str, Drop]  # by the input that is shuffled


def inputs_of(schema: Schema) -> dict[str, tuple[str, ...]]:
    """The fields of each modality together; where a modality has several, each alone too, as `<modality>/<field>`."""
    fields: dict[str, tuple[str, ...]] = {}
    for spec in schema.inputs:
        fields[spec.modality] = (*fields.get(spec.modality, ()), spec.name)
    alone = {f"{modality}/{name}": (name,) for modality, names in fields.items() if len(names) > 1 for name in names}
    return fields | alone


def drawn(table: Table, *, seed: int, group_by: str | None = None) -> Table:
    """The rows to ask about: 2048 drawn at random, fewer where there are many inputs, all where there are no more.

    With `group_by`, a field whose items are costly, the rows that share one are drawn together.
    """
    passes = 1 + len(inputs_of(table.schema)) * (1 + REPEATS)
    rows = max(_LEAST_ROWS, min(_MOST_ROWS, _SCORINGS // passes))
    if rows >= len(table):
        return table
    each_B = np.arange(len(table))
    if group_by is not None:
        item_B = table.columns[group_by].index
        each_B = np.where(item_B < 0, item_B.max() + 1 + each_B, item_B)  # rows without an item are each their own
    place = np.random.default_rng(seed).permutation(each_B.max() + 1)
    return take(table, np.sort(np.argsort(place[each_B], kind="stable")[:rows]))


class _Reader:
    """A model and the items it reads, encoded once."""

    def __init__(self, model: Model, part: Part) -> None:
        (batch,) = part.loader(batch_size=len(part.table), shuffle=False, seed=0)
        self.model, self.index_B = model, np.asarray(batch.index)
        self.items, self.rows = model.items(moved(batch, device_of(model)), missing=True)

    def probabilities(self, task: Task, changed: Mapping[str, Tensor]) -> np.ndarray:
        """[B, C] in the order of the table; `changed` is the item each row takes of a field instead."""
        moved_ = {field: rows_B.to(device_of(self.model)) for field, rows_B in changed.items()}
        logits_BC = self.model.logits(self.model.fuse(self.items, {**self.rows, **moved_}))
        scores_BC = task.probabilities(logits_BC).float().cpu().numpy()
        in_order_BC = np.empty_like(scores_BC)
        in_order_BC[self.index_B] = scores_BC
        return in_order_BC

    def absent(self, fields: Sequence[str]) -> dict[str, Tensor]:
        """The missing item in every row."""
        return {field: torch.full_like(self.rows[field], len(self.items[field].pooled_BD) - 1) for field in fields}

    def shuffled(self, fields: Sequence[str], order_B: np.ndarray) -> dict[str, Tensor]:
        """The same items, each row's from another row; `order_B` is of rows in the order of the table."""
        place_B = np.argsort(self.index_B)  # where each row of the table stands in the batch
        taken_B = torch.from_numpy(place_B[order_B[self.index_B]]).to(device_of(self.model))
        return {field: self.rows[field][taken_B] for field in fields}


def reliance(members: Sequence[tuple[float, Model, Part]], task: Task, goal: Goal, *, seed: int) -> Reliance:
    """Remove each input, and shuffle each; the fields of a modality move together.

    Args:
        members: the model, with the weight 1 and the rows as it reads them; of an ensemble each member with its.
            Models are on any device, and their mode is left as it was. Rows are encoded in one go; all have targets.
        task: fitted.
        goal: what drops are told in; the task's own where these rows have no such metric.
        seed: of the shuffled orders.
    """
    table = members[0][2].table
    orders = [np.random.default_rng([seed, repeat]).permutation(len(table)) for repeat in range(REPEATS)]
    with ExitStack() as stack, torch.inference_mode():
        for _, model, _ in members:
            stack.enter_context(evaluating(model))
        readers = [(weight, _Reader(model, part)) for weight, model, part in members]

        def metrics(change: Callable[[_Reader], Mapping[str, Tensor]]) -> dict[str, float]:
            parts = [weight * reader.probabilities(task, change(reader)) for weight, reader in readers]
            return task.measure(np.asarray(np.sum(parts, axis=0), np.float32), table)

        whole = metrics(lambda _: {})
        judge = goal if goal.metric in whole else task.goal
        sign = 1.0 if judge.direction == "maximize" else -1.0
        removed, importance = {}, {}
        for name, fields in inputs_of(table.schema).items():
            removed[name] = metrics(partial(_Reader.absent, fields=fields))
            shuffled = [metrics(partial(_Reader.shuffled, fields=fields, order_B=order)) for order in orders]
            drops = [sign * (whole[judge.metric] - values[judge.metric]) for values in shuffled]
            importance[name] = Drop(float(np.mean(drops)), float(np.std(drops)))
    return Reliance(judge.metric, whole, removed, importance)
