"""What a target column asks for: classes, labels or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from automm.runtime.distinct import is_missing

_CLASSES = 20  # a target of more different whole numbers than that is a quantity


def suited_task(cells: Sequence[Any]) -> tuple[str, str]:
    """The task that suits a target, `classification`, `regression` or `multilabel`, and why, in a phrase."""
    known = [cell for cell in cells if not is_missing(cell)]
    kinds = {type(cell) for cell in known}
    if kinds == {list}:
        return "multilabel", "lists of labels"
    if kinds and kinds <= {int, float}:
        if any(isfinite(cell) and cell % 1 for cell in known):
            return "regression", "numbers with fractions"
        if len(set(known)) > _CLASSES:
            return "regression", f"{len(set(known))} different numbers"
    return "classification", f"{len(set(map(str, known)))} different values"
