"""Rows of one split that are in another in disguise, and rows that contradict each other.

Shape legend: R rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from automm.data.likeness import Keys
from automm.runtime.distinct import is_missing
from automm.types import Modality

_SHOWN = 3
_UNIQUE = 0.9  # a text of which as many are told apart is not expected to come again elsewhere


@dataclass(frozen=True)
class Cell:
    """Where a cell stands, and what."""

    split: str
    row: int  # from 1
    shows: str  # empty where the table holds the file itself


@dataclass(frozen=True)
class Example:
    """Two cells of a column that are alike."""

    column: str
    modality: Modality
    one: Cell
    other: Cell


@dataclass(frozen=True)
class Finding:
    """Something a table's owner should look at before believing a figure measured on it."""

    kind: str
    count: int  # rows, pictures or groups
    sentence: str  # what was found, and the next step
    examples: tuple[Example, ...] = ()


def missing_columns(inputs: Sequence[str], tables: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    """Inputs that a table lacks; `tables` holds the columns of each."""
    for split, columns in tables.items():
        lacking = [name for name in inputs if name not in columns]
        if lacking:
            yield Finding(
                "missing columns",
                len(lacking),
                f"{split} lacks {', '.join(map(repr, lacking))}, and a run would stop there. Next: add them, or "
                f"data.drop=[{','.join(lacking)}].",
            )


def shared_rows(keys: Keys) -> Iterator[Finding]:
    """Rows of one file that are alike, in all inputs, to a row of another."""
    for one, other in combinations(keys, 2):
        again_R = (keys[other] >= 0) & np.isin(keys[other], keys[one])
        if count := int(again_R.sum()):
            yield Finding(
                "shared rows",
                count,
                f"{count} of {len(again_R)} rows of {other} are in {one} too, alike in all inputs but for case, spaces "
                f"and punctuation (row {_rows(again_R)}): on these memory is measured, not learning. Next: take them "
                "out of one of the two.",
            )


def shared_cells(name: str, what: str, keys: Keys) -> Iterator[Finding]:
    """Pictures, or texts that hardly ever come twice, that are in two files."""
    for one, other in combinations(keys, 2):
        again_R = (keys[other] >= 0) & np.isin(keys[other], keys[one])
        if count := len(np.unique(keys[other][again_R])):
            yield Finding(
                "shared cells",
                count,
                f"{count} {what} of {name!r} in {other} (row {_rows(again_R)}) {'are' if count > 1 else 'is'} in {one} "
                "too. Next: take the rows out of one of the two, if the rest of the row is no news either.",
            )


def hardly_repeats(key_R: np.ndarray) -> bool:
    """Whether a column's cells nearly all differ."""
    known = key_R[key_R >= 0]
    return len(known) > 0 and len(np.unique(known)) >= _UNIQUE * len(known)


def shared_groups(group: str, cells: Mapping[str, Sequence[Any]]) -> Iterator[Finding]:
    """Groups that have rows in two files."""
    for one, other in combinations(cells, 2):
        both = sorted({str(c) for c in cells[one] if not is_missing(c)} & set(map(str, cells[other])))
        if both:
            yield Finding(
                "shared groups",
                len(both),
                f"{len(both)} values of {group!r} have rows in {one} and in {other}, such as "
                f"{', '.join(f'{value:.40}' for value in both[:_SHOWN])}. Next: keep each in one file.",
            )


def disguised(key_R: np.ndarray, together_R: np.ndarray, what: str, advice: str) -> Iterator[Finding]:
    """Cells or rows of one file that are alike, in rows that drawing a split does not keep together."""
    pairs = np.unique(np.stack([key_R, together_R])[:, key_R >= 0], axis=1)
    found, forms = np.unique(pairs[0], return_counts=True)
    several = np.isin(key_R, found[forms > 1])
    if count := int((forms > 1).sum()):
        yield Finding(
            "disguised copies",
            count,
            f"{count} {what} (row {_rows(several)}): a drawn split may have them on both sides. Next: {advice}.",
        )


def contradictions(key_R: np.ndarray, targets: Sequence[Any]) -> Iterator[Finding]:
    """Rows alike in all inputs whose classes differ: no model can have all of them right."""
    classes: dict[int, set[str]] = {}
    for key, target in zip(key_R.tolist(), targets, strict=True):
        if key >= 0 and not is_missing(target):
            classes.setdefault(key, set()).add(str(target))
    odd_R = np.isin(key_R, [key for key, found in classes.items() if len(found) > 1])
    if count := int(odd_R.sum()):
        yield Finding(
            "contradictions",
            count,
            f"{count} of {len(key_R)} rows are alike in all inputs to a row of another class (row {_rows(odd_R)}): not "
            "all of them can be answered rightly. Next: correct the targets, or add a column that tells them apart.",
        )


def unseen_classes(targets: Mapping[str, Sequence[Collection[str]]]) -> Iterator[Finding]:
    """Classes that other files have and the first has not; of each row that has a target all are given."""
    first, *others = targets
    known = {label for labels in targets[first] for label in labels}
    for split in others:
        unseen = [set(labels) - known for labels in targets[split]]
        counts = Counter(label for labels in unseen for label in sorted(labels))
        if rows := sum(map(bool, unseen)):
            shown = ", ".join(f"{label:.40}" for label, _ in counts.most_common(_SHOWN))
            yield Finding(
                "unseen classes",
                rows,
                f"{rows} of {len(unseen)} rows of {split} have a class that no row of {first} has "
                f"({shown}), and count as wrong. Next: add such rows to {first}, or take these out.",
            )


def _rows(marked_R: np.ndarray) -> str:
    """The first few rows that are marked, counted from 1."""
    at = np.flatnonzero(marked_R) + 1
    return ", ".join(map(str, at[:_SHOWN])) + (" ..." if len(at) > _SHOWN else "")
