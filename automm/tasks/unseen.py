"""Classes that only validation or test rows have: they are counted, said before a search begins, and reported."""

from __future__ import annotations

import logging
from collections import Counter

from automm.tasks.task import Task
from automm.types import Splits

log = logging.getLogger(__name__)

_SHOWN = 3


def unseen(task: Task, splits: Splits) -> dict[str, Counter[str]]:
    """By split, `valid` and `test`, the rows of each class that no training row has; `task` is fitted."""
    tables = {"valid": splits.valid, "test": splits.test}
    found = {split: Counter(task.unseen(table)) for split, table in tables.items() if table is not None}
    return {split: counts for split, counts in found.items() if counts}


def report_unseen(task: Task, splits: Splits) -> None:
    """Warn of rows that no model of this training table can get right; `task` is fitted."""
    for split, counts in unseen(task, splits).items():
        log.warning(
            "%d of %d %s rows count as wrong whatever is answered: no training row has their class (%s). "
            "Next: add such rows to the training table, or take these out.",
            counts.total(),
            len(getattr(splits, split)),
            {"valid": "validation"}.get(split, split),
            ", ".join(f"{label} {count}x" for label, count in counts.most_common(_SHOWN)),
        )
