"""What a metric is: a plain function of scores and targets that says which way is better and which targets it reads.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import numpy as np

from automm.types import Direction, Targets

Compute = Callable[[np.ndarray, np.ndarray], float]


class Metric(Protocol):
    """A number for what was scored on some rows, at least one.

    It is given the scores, float32 [B, C], and the targets of the same rows. `reads` says which it can be given:

    - `classes`: int64 [B], the column that is right. Columns stand for the training classes in reading order (numbers
      by value, then words by alphabet); -1 is a class that training never saw, of which no column is right.
    - `labels`: bool [B, C], which labels a row has. Labels that training never saw have columns of their own at the
      end, whose scores are 0.
    - `numbers`: float64 [B], in the targets' own unit, which the scores [B, 1] are in too.
    - `shares`: float32 [B, C], what each answer is worth where several people answered.

    It changes neither, and gives a finite number whatever rows it gets: those of one class alone, or all scored alike.
    """

    higher_is_better: bool
    reads: tuple[Targets, ...]

    def __call__(self, scores_BC: np.ndarray, targets: np.ndarray, /) -> float:
        """The number."""


def metric(*, higher_is_better: bool, reads: tuple[Targets, ...], per_row: bool = False) -> Callable[[Compute], Metric]:
    """Make a metric of a function.

    Args:
        higher_is_better: which way is better; a search drives there.
        reads: the targets it can be given.
        per_row: whether it is made of a value each row has of its own, and so is reported of every group of rows too.
    """

    def mark(function: Compute) -> Metric:
        marked = cast(Metric, function)
        marked.higher_is_better, marked.reads = higher_is_better, reads
        marked.per_row = per_row  # type: ignore[attr-defined]  # what lacks it has none
        return marked

    return mark


def direction(of: Metric) -> Direction:
    """Which way a metric is better."""
    return "maximize" if of.higher_is_better else "minimize"
