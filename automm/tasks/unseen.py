"""Classes that only validation or test rows have: they are counted, said before a search begins, and reported."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from automm.data.split import joined, take
from automm.tasks.task import Task
from automm.types import Splits, Table

log = logging.getLogger(__name__)

_SHOWN = 3


def unseen(task: Task, splits: Splits) -> dict[str, Counter[str]]:
    """By split, `valid` and `test`, the rows of each class that no training row has; `task` is fitted.

    Under cross-validation all rows validate, each beside the training rows that are all other folds.
    """
    found = {"valid": Counter(task.unseen(splits.valid))}
    if splits.folds is not None:
        found["valid"] = Counter(name for own, rest in _folds(splits) for name in task.unseen(own, rest))
    if splits.test is not None:
        found["test"] = Counter(task.unseen(splits.test))
    return {split: counts for split, counts in found.items() if counts}


def _folds(splits: Splits) -> Iterator[tuple[Table, Table]]:
    """The rows of each fold, and all others; without inputs, which nobody looks at here."""
    assert splits.folds is not None
    whole = joined(replace(splits.train, columns={}), replace(splits.valid, columns={}))
    for fold in range(int(splits.folds.max()) + 1):
        own, rest = (np.flatnonzero(rows) for rows in (splits.folds == fold, splits.folds != fold))
        yield take(whole, own), take(whole, rest)


def report_unseen(task: Task, splits: Splits) -> None:
    """Warn of rows that no model of this training table can get right; `task` is fitted."""
    rows = {"valid": len(splits.valid if splits.folds is None else splits.folds), "test": len(splits.test or ())}
    for split, counts in unseen(task, splits).items():
        log.warning(
            "%d of %d %s rows count as wrong whatever is answered: no training row has their class (%s). "
            "Next: add such rows to the training table, or take these out.",
            counts.total(),
            rows[split],
            {"valid": "validation"}.get(split, split),
            ", ".join(f"{label} {count}x" for label, count in counts.most_common(_SHOWN)),
        )
