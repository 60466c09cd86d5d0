"""Pictures that look the same and texts that say nearly the same, in rows of different files or of one.

Shape legend: R rows, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from automm.data.column_facts import shown
from automm.data.glimpse import Glimpse
from automm.data.leaks import Cell, Example, Finding
from automm.data.likeness import Keys
from automm.data.looks import similar_looks
from automm.data.near_texts import similar_texts
from automm.runtime.embedded import embedded
from automm.types import Modality

_SHOWN = 3
_LONG = 240  # characters that are shown, for the word that differs may stand anywhere
_HOW = {
    "image": "picture(s) of {!r} look like another, which may be the same resized or encoded anew",
    "text": "text(s) of {!r} are another but for a word in seven or fewer",
}


@dataclass(frozen=True)
class Near:
    """The cells of one column that are nearly alike."""

    column: str
    modality: Modality
    keys: Keys  # by split, int64 [R]: equal for cells that are alike
    raw: Mapping[str, Sequence[Any]]  # the cells as they stand, by split
    pairs: np.ndarray  # of keys, int64 [P, 2]: each once
    left_out: int  # cells that were not compared

    @classmethod
    def of(cls, column: str, modality: Modality, keys: Keys, looked: Mapping[str, Sequence[Any]],
           raw: Mapping[str, Sequence[Any]]) -> Near:  # fmt: skip
        """Compare the cells of an image or text column.

        Args:
            column: its name.
            modality: image or text.
            keys: by split, as `cell_keys` has them.
            looked: cells by split, images as Glimpse.
            raw: cells by split as they stand in the tables.
        """
        first = _first_cells(keys, looked)
        left_out = 0
        if modality == "image":
            at = [key for key, seen in first.items() if isinstance(seen, Glimpse) and seen.look]
            pairs = similar_looks([first[key].look for key in at])
        else:
            at = list(first)
            pairs, left_out = similar_texts([str(first[key]) for key in at])
        return cls(column, modality, keys, raw, np.array(at, np.int64)[pairs] if len(pairs) else pairs, left_out)

    def remark(self) -> str:
        """What was not looked at; empty where all was."""
        if not self.left_out:
            return ""
        return (
            f"{self.column}: a sample was searched for texts that say nearly the same; {self.left_out:,} were left out"
        )

    def across(self) -> Iterator[Finding]:
        """Cells of one file that are nearly alike to one of another, and none there is quite."""
        for one, other in combinations(self.keys, 2):
            rows = {split: _first_rows(self.keys[split]) for split in (one, other)}
            twins = {
                new: old
                for each, again in self.pairs.tolist()
                for old, new in ((each, again), (again, each))
                if old in rows[one] and new in rows[other] and new not in rows[one]
            }
            found = sorted((rows[other][new], rows[one][old]) for new, old in twins.items())
            if found:
                yield self._finding(
                    found,
                    (other, one),
                    f"in {other} and in {one}",
                    "look at them, and take copies out of one of the two",
                )

    def within(self, together_R: np.ndarray) -> Iterator[Finding]:
        """Cells of the training table that are nearly alike, in rows that drawing a split does not keep together."""
        rows = _first_rows(self.keys["train"])
        known = [
            sorted((rows[each], rows[again])) for each, again in self.pairs.tolist() if {each, again} <= rows.keys()
        ]
        found = sorted((low, high) for low, high in known if together_R[low] != together_R[high])
        if found:
            yield self._finding(
                found,
                ("train", "train"),
                "in train, and a drawn split may have them on both sides",
                "look at them, and take copies out, or data.group=COLUMN where a column says what belongs together",
            )

    def _finding(self, found: Sequence[tuple[int, int]], splits: tuple[str, str], where: str, advice: str) -> Finding:
        count = len({row for row, _ in found})
        return Finding(
            "near-duplicates",
            count,
            f"{count} {_HOW[self.modality].format(self.column)}, {where}. Next: {advice}.",
            tuple(
                Example(self.column, self.modality, *(self._cell(*at) for at in zip(splits, rows, strict=True)))
                for rows in found[:_SHOWN]
            ),
        )

    def _cell(self, split: str, row: int) -> Cell:
        cell = self.raw[split][row]
        held = self.modality == "image" and (isinstance(cell, Glimpse) or embedded(str(cell), "image") is not None)
        return Cell(split, row + 1, "" if held else shown(cell, _LONG))


def _first_rows(key_R: np.ndarray) -> dict[int, int]:
    """By key the first row that has it."""
    keys, rows = np.unique(key_R, return_index=True)
    return {key: row for key, row in zip(keys.tolist(), rows.tolist(), strict=True) if key >= 0}


def _first_cells(keys: Keys, cells: Mapping[str, Sequence[Any]]) -> dict[int, Any]:
    """By key one of the cells that have it, in the order of their keys."""
    found: dict[int, Any] = {}
    for split, key_R in keys.items():
        for key, row in _first_rows(key_R).items():
            found.setdefault(key, cells[split][row])
    return dict(sorted(found.items()))
