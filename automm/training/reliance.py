"""How much a model relies on each of its inputs: what it scores without one, and with one shuffled among the rows.

Items are encoded once. A removed field is the model's own missing item in every row; a shuffled one is the same items
in another order (permutation importance: Breiman 2001, and as model reliance Fisher et al. 2019, arXiv:1801.01489).

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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


def reliance(model: Model, task: Task, part: Part, goal: Goal, *, seed: int) -> Reliance:
    """Remove each input, and shuffle each; the fields of a modality move together.

    Args:
        model: on any device; its mode is left as it was.
        task: fitted.
        part: the rows, encoded in one go; all have targets.
        goal: what drops are told in; the task's own where these rows have no such metric.
        seed: of the shuffled orders.
    """
    (batch,) = part.loader(batch_size=len(part.table), shuffle=False, seed=0)
    generators = [np.random.default_rng([seed, repeat]) for repeat in range(REPEATS)]
    with evaluating(model), torch.inference_mode():
        items, rows = model.items(moved(batch, device_of(model)), missing=True)
        orders = [torch.from_numpy(each.permutation(len(batch))).to(device_of(model)) for each in generators]

        def metrics(changed: Mapping[str, Tensor]) -> dict[str, float]:
            scores_BC = task.probabilities(model.logits(model.fuse(items, {**rows, **changed}))).float().cpu().numpy()
            in_order_BC = np.empty_like(scores_BC)
            in_order_BC[batch.index] = scores_BC
            return task.measure(in_order_BC, part.table)

        whole = metrics({})
        judge = goal if goal.metric in whole else task.goal
        sign = 1.0 if judge.direction == "maximize" else -1.0
        removed, importance = {}, {}
        for name, fields in inputs_of(part.table.schema).items():
            absent = {field: torch.full_like(rows[field], len(items[field].pooled_BD) - 1) for field in fields}
            removed[name] = metrics(absent)
            shuffled = [metrics({field: rows[field][order] for field in fields}) for order in orders]
            drops = [sign * (whole[judge.metric] - values[judge.metric]) for values in shuffled]
            importance[name] = Drop(float(np.mean(drops)), float(np.std(drops)))
    return Reliance(judge.metric, whole, removed, importance)
