"""Classes that only validation or test rows have: they are counted, and said before a search begins."""

from __future__ import annotations

import logging
from collections import Counter

from automm.tasks.task import Task
from automm.types import Splits

log = logging.getLogger(__name__)

_SHOWN = 3


def report_unseen(task: Task, splits: Splits) -> None:
    """Warn of rows that no model of this training table can get right; `task` is fitted."""
    for name, table in (("validation", splits.valid), ("test", splits.test)):
        counts = Counter([] if table is None else task.unseen(table))
        if table is not None and counts:
            log.warning(
                "%d of %d %s rows count as wrong whatever is answered: no training row has their class (%s). "
                "Next: add such rows to the training table, or take these out.",
                counts.total(),
                len(table),
                name,
                ", ".join(f"{label} {count}x" for label, count in counts.most_common(_SHOWN)),
            )
