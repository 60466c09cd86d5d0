"""Which column is the target, and what it asks for: classes, labels or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from automm.runtime.categories import category
from automm.runtime.distinct import is_missing

_CALLED = ("target", "label", "labels", "class", "y", "outcome", "answer")  # as targets often are
_SEPARATORS = (",", ";", "|")
_LISTED = 0.2  # of texts that list labels, as many have several
_REPEATS = 5  # rows that a label stands in on average
_CLASSES = 20  # a target of more different whole numbers than that is a quantity


def likely_target(names: Sequence[str]) -> tuple[str, bool]:
    """The column that is to be predicted where none is named: the first that is called so, in whatever case, else the
    last; and whether its name said so.

    Args:
        names: of the columns that may be it, in the table's order; one at least.
    """
    called = next((name for name in names if name.casefold() in _CALLED), None)
    return (names[-1], False) if called is None else (called, True)


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


def separator_of(cells: Sequence[Any]) -> str:
    """What stands between the labels of texts that list some; empty where these are no such texts.

    They are where many hold several, which come together in other ways elsewhere: fewer labels than texts, each often.
    """
    known = [cell for cell in cells if not is_missing(cell)]
    if {type(cell) for cell in known} != {str}:
        return ""
    for separator in _SEPARATORS:
        lists = [_listed(cell, separator) for cell in known]
        total, labels = sum(map(len, lists)), {label for labels in lists for label in labels}
        several = sum(len(each) > 1 for each in lists)
        if several >= _LISTED * len(lists) and len(labels) < len(set(known)) and total >= _REPEATS * len(labels):
            return separator
    return ""


def label_lists(cells: Sequence[Any]) -> list[list[str] | None] | None:
    """The labels of each row, None where it has no target, of a column that lists some; None where it does not."""
    separator = separator_of(cells)
    if not separator and {type(cell) for cell in cells if not is_missing(cell)} != {list}:
        return None
    return [None if is_missing(cell) else labels_of(cell, separator) for cell in cells]


def labels_of(cell: Any, separator: str) -> list[str]:
    """The labels of a target: those of a list, or of a text with a separator; of anything else it is one."""
    if isinstance(cell, list):
        return [str(label) for label in cell]
    if isinstance(cell, (str, int, float)):
        return _listed(cell, separator) if separator and isinstance(cell, str) else [category(cell)]
    return [str(cell)]


def _listed(text: str, separator: str) -> list[str]:
    return [label for part in text.split(separator) if (label := part.strip())]
