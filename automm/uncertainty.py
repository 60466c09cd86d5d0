"""How sure a test's figures are: an interval for each, and for the winner's lead over each baseline.

Rows that belong together say less than as many others, and few metrics are means of rows. The delete-a-group jackknife
needs neither (Kott, Journal of Official Statistics 17, 2001): the rows fall at random into groups, none of which parts
what belongs together, and by how much a figure changes as each of them is left out says how sure it is. Two models are
compared on the same rows, so that what is hard for both cancels out.

Shape legend: B rows, U units (what belongs together, or a row), G groups, C outputs.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import expit, logit, stdtrit

from automm.data.split import take
from automm.metrics.headline import headline
from automm.metrics.named import measured
from automm.tasks.judged import goals_of
from automm.tasks.task import Task
from automm.types import Goal, Table

log = logging.getLogger(__name__)

LEVEL = 0.95
_MOST, _LEAST = 50, 10  # groups; of fewer units, or as good as fewer, nothing is said
_CELLS = 100_000_000  # scores that a model's figures may be taken of, all groups together;
_PER_ROW = 20  # beside its scores a row costs as much as so many
_SAME = 1e-9  # of a figure: differences so small are rounding
_SHARES = {
    "accuracy", "auroc", "average_precision", "balanced_accuracy", "f1", "f1_macro", "f1_micro", "hamming", "jaccard",
    "map", "precision", "recall", "specificity", "subset_accuracy", "top_3", "top_5", "vqa_score",
}  # fmt: skip

Interval = dict[str, float]  # `value`, `low` and `high`


@dataclass(frozen=True)
class Jackknife:
    """Rows of a table in groups.

    Args:
        group_B: of each row, int64 [B], 0 to `groups` - 1.
        groups: how many there are, G.
        units: how many units, U.
        freedom: degrees of freedom: groups less one, fewer where some are much larger than others.
    """

    group_B: np.ndarray
    groups: int
    units: int
    freedom: float

    @classmethod
    def of(cls, table: Table, outputs: int, seed: int) -> Jackknife | None:
        """Groups of a table's rows, drawn by a seed; None where there are too few units, or too much to measure.

        Args:
            table: the rows.
            outputs: how many scores a model gives each.
            seed: of the groups.
        """
        rows = len(table)
        unit_B = np.arange(rows) if table.together is None else np.unique(table.together, return_inverse=True)[1]
        size_U = np.bincount(unit_B.reshape(-1))
        groups = min(_MOST, len(size_U), _CELLS // max(1, rows * (outputs + _PER_ROW)))
        if groups < _LEAST or _effective(size_U) < _LEAST:
            return None
        group_U = np.random.default_rng([seed, 2]).permutation(len(size_U)) % groups
        freedom = _effective(np.bincount(group_U, size_U)) - 1
        return cls(group_U[unit_B.reshape(-1)], groups, len(size_U), freedom)

    def figures(self, task: Task, metric: str, scores_BC: np.ndarray, table: Table) -> np.ndarray | None:
        """A metric without each of the groups, float64 [G]; None where it cannot be taken without one of them.

        Args:
            task: fitted.
            metric: one that `Task.measure` gives.
            scores_BC: a model's, of every row.
            table: the rows.
        """
        bare, found_G = replace(table, columns={}, groups={}), np.empty(self.groups)
        for group in range(self.groups):
            rest = np.flatnonzero(self.group_B != group)
            try:
                found_G[group] = _measured(task, metric, scores_BC[rest], take(bare, rest))
            except Exception as error:  # by whatever a task or a metric of others raises: a run does not end by this
                log.warning("no interval for %s, which cannot be taken without some rows: %s", metric, error)
                return None
        return found_G if np.isfinite(found_G).all() else None

    def interval(self, value: float, without_G: np.ndarray, *, share: bool = False) -> Interval | None:
        """Student's interval for a figure; None where no group moves it, which is not to be sure of it.

        Args:
            value: over all rows.
            without_G: the same without each of the groups.
            share: whether it lies between 0 and 1, and so does what its interval spans.
        """
        if np.ptp(without_G) <= _SAME * max(1.0, abs(value)) or (share and not 0 < value < 1):
            return None
        error = math.sqrt((self.groups - 1) / self.groups * float(np.square(without_G - without_G.mean()).sum()))
        reach = float(stdtrit(self.freedom, (1 + LEVEL) / 2)) * error
        low, high = value - reach, value + reach
        if share:
            reach /= value * (1 - value)
            low, high = expit(logit(value) - reach), expit(logit(value) + reach)
        return {"value": float(value), "low": float(low), "high": float(high)}


class Judgement:
    """Metrics of models on one table, and how sure the one is that a reader looks for.

    Args:
        task: fitted.
        table: rows with targets.
        goal: what the search drove at; None = nothing is said of how sure metrics are.
        seed: of the groups.
    """

    def __init__(self, task: Task, table: Table, goal: Goal | None, seed: int) -> None:
        self.task, self.table, self._goal, self._seed = task, table, goal, seed
        self.values: dict[str, dict[str, float]] = {}  # metrics by model, the winner first
        self._without: dict[str, np.ndarray | None] = {}
        self._metric = ""
        self._groups: Jackknife | None = None

    def add(self, name: str, scores_BC: np.ndarray) -> None:
        """Measure a model by what it scores on every row; the first is the winner, whose metrics decide on which."""
        self.values[name] = self.task.measure(scores_BC, self.table)
        if self._goal is not None and len(self.values) == 1:
            self._metric = headline(self.values[name], self._goal)
            self._groups = Jackknife.of(self.table, scores_BC.shape[1], self._seed)
        groups, known = self._groups, self._metric in self.values[name]
        self._without[name] = (
            groups.figures(self.task, self._metric, scores_BC, self.table) if groups is not None and known else None
        )

    def again(self, name: str, of: str) -> None:
        """The same model by another name."""
        self.values[name], self._without[name] = self.values[of], self._without[of]

    def uncertainty(self) -> dict[str, Any] | None:
        """`uncertainty` of result.json: each `Interval`, null where it is not known; None where none can be."""
        if self._groups is None:
            return None
        winner, *baselines = self.values
        return {
            "metric": self._metric,
            "level": LEVEL,
            "units": self._groups.units,
            "groups": self._groups.groups,
            "winner": self._interval(winner),
            "baselines": {name: self._interval(name) for name in baselines},
            "ahead": {name: self._lead(winner, name) for name in baselines},
        }

    def _interval(self, name: str) -> Interval | None:
        without_G = self._without[name]
        if without_G is None or self._groups is None:
            return None
        return self._groups.interval(self.values[name][self._metric], without_G, share=self._metric in _SHARES)

    def _lead(self, winner: str, name: str) -> Interval | None:
        """By how much the winner is better, whichever way that is."""
        own_G, without_G = self._without[winner], self._without[name]
        if own_G is None or without_G is None or self._groups is None:
            return None
        sign = -1.0 if self._lower_is_better() else 1.0
        lead = self.values[winner][self._metric] - self.values[name][self._metric]
        return self._groups.interval(sign * lead, sign * (own_G - without_G))

    def _lower_is_better(self) -> bool:
        directions = {goal.metric: goal.direction for goal in goals_of(self.task)}
        if self._goal is not None:  # which a task need not list
            directions[self._goal.metric.partition("/")[0]] = self._goal.direction
        return directions.get(self._metric) == "minimize"


def _effective(size_U: np.ndarray) -> float:
    """How many things of equal size say as much as these."""
    return float(size_U.sum() ** 2 / np.square(size_U, dtype=np.float64).sum())


def _measured(task: Task, metric: str, scores_BC: np.ndarray, table: Table) -> float:
    """One metric alone, a task's own before one by that name; nan where these rows do not have it."""
    own = task.metrics(scores_BC, table)
    if metric in own or metric not in task.named:
        return own.get(metric, math.nan)
    scores_BC, targets = task.compared(scores_BC.astype(np.float32, copy=False), table)
    return dict(measured([metric], scores_BC, targets, {})).get(metric, math.nan)
