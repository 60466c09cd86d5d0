"""The search for leaks in the tables of one data set.

Shape legend: R rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from automm.data import leaks
from automm.data.giveaways import Judged, folds, giveaways, label_giveaways, sample, spoken
from automm.data.leaks import Finding
from automm.data.likeness import Keys, cell_keys, raw_keys, row_keys
from automm.data.near import Near
from automm.data.repeats import by_chance
from automm.data.split import linked
from automm.data.table_files import Cells
from automm.data.targets import label_lists, labels_of, separator_of, suited_task
from automm.runtime.distinct import is_missing
from automm.runtime.quantities import Reader, read_or_nan, reader
from automm.types import FieldSpec, Modality

_FILES: dict[Modality, str] = {"image": "picture(s)", "audio": "clip(s)"}


class Inspection:
    """Compares rows within the training table and across tables, and tries what single columns tell of the target.

    Args:
        raw: the tables as read, by split and column; `train` is among them.
        looked: the same columns in every split, images as Glimpse, clips as Heard.
        fields: of the columns.
        target: where there is one.
        group: where there is one.
    """

    def __init__(
        self,
        raw: Mapping[str, Cells],
        looked: Mapping[str, Cells],
        fields: Mapping[str, FieldSpec],
        target: str | None,
        group: str | None,
    ) -> None:
        self.raw, self.looked, self.train = raw, looked, looked["train"]
        self.target, self.group = target, group
        self.inputs = [field for field in fields.values() if field.role == "input"]
        self.readers: dict[str, Reader] = {
            field.name: _remembering(reader([cell for cell in self.train[field.name] if not is_missing(cell)]))
            for field in fields.values()
            if field.modality == "numeric" and field.role != "group"
        }
        self.keys: dict[str, Keys] = {
            f.name: cell_keys({s: each[f.name] for s, each in looked.items()}, f.modality, self.readers.get(f.name))
            for f in self.inputs
        }
        self.by_chance = by_chance((f.modality, raw_keys(raw["train"][f.name])) for f in self.inputs)
        self.near = [
            Near.of(f.name, f.modality, self.keys[f.name], _column(looked, f.name), _column(raw, f.name))
            for f in self.inputs
            if f.modality == "image" or (f.modality == "text" and leaks.hardly_repeats(self.keys[f.name]["train"]))
        ]

    def findings(self) -> Iterator[Finding]:
        """All that should be looked at, across tables first."""
        if not self.inputs:
            return
        yield from leaks.missing_columns([f.name for f in self.inputs], self.raw)
        rows = row_keys(list(self.keys.values()))
        if not self.by_chance:
            yield from leaks.shared_rows(rows)
        if len(self.inputs) > 1:
            yield from self._shared_cells()
        if self.group is not None:
            yield from leaks.shared_groups(self.group, {s: each[self.group] for s, each in self.looked.items()})
        for near in self.near:
            yield from near.across()
        if not self.by_chance and not {"valid", "test"} <= set(self.raw):
            yield from self._disguised(rows["train"])
        if self.target in self.train:
            yield from self._about_target(self.target, rows["train"])

    def remarks(self) -> Iterator[str]:
        """What was not looked at, and why."""
        if self.inputs and self.by_chance:
            yield (
                "rows alike in all inputs are not told of: columns of so few values repeat them by themselves, and a "
                "run draws them one by one"
            )
        yield from (remark for near in self.near if (remark := near.remark()))

    def _shared_cells(self) -> Iterator[Finding]:
        for field in self.inputs:
            keys = self.keys[field.name]
            if field.modality in _FILES:
                yield from leaks.shared_cells(field.name, _FILES[field.modality], keys)
            elif field.modality == "text" and leaks.hardly_repeats(keys["train"]):
                yield from leaks.shared_cells(field.name, "text(s)", keys)

    def _disguised(self, row_R: np.ndarray) -> Iterator[Finding]:
        """Copies a drawn split would not see: it keeps together what shares all inputs, a file's name or a group.

        Not where rows are alike by chance: no split keeps these together, and they are no copies.
        """
        raw = {field.name: raw_keys(self.raw["train"][field.name]) for field in self.inputs}
        files = {field.name: _FILES[field.modality] for field in self.inputs if field.modality in _FILES}
        same = [row_keys([{"train": each} for each in raw.values()])["train"], *(raw[name] for name in files)]
        together_R = linked([*same, *self._groups()])
        group = "data.group=COLUMN where a column says what belongs together"
        for name, held in files.items():
            what = f"{held} of {name!r} stand under several names"
            yield from leaks.disguised(self.keys[name]["train"], together_R, what, f"give copies one name, or {group}")
        what = "set(s) of rows are alike in all inputs but for case, spaces, punctuation or the name of a file"
        yield from leaks.disguised(row_R, together_R, what, f"take out copies, or {group}")
        for near in self.near:
            yield from near.within(together_R)

    def _groups(self) -> list[np.ndarray]:
        """The group of each row of the training table, -1 where it has none; no array where there are no groups."""
        return [] if self.group is None else [raw_keys(self.train[self.group])]

    def _about_target(self, target: str, row_R: np.ndarray) -> Iterator[Finding]:
        cells = self.train[target]
        if suited_task(cells)[0] == "regression":
            rows = sample(np.array([not is_missing(cell) and bool(np.isfinite(cell)) for cell in cells]))
            judged = Judged(np.array([cells[row] for row in rows], np.float64), self._folds(rows))
            yield from giveaways(judged, *self._plain(rows))
            return
        as_train = separator_of(cells)
        names = {split: _classes(each[target], as_train) for split, each in self.looked.items()}
        yield from leaks.unseen_classes(
            {s: [labels for labels in each if labels is not None] for s, each in names.items()}
        )
        known = names["train"]
        if not self.by_chance:
            yield from leaks.contradictions(row_R, [None if n is None else _together(n) for n in known])
        rows = sample(np.array([each is not None for each in known]))
        tried = [known[row] or [] for row in rows]
        if label_lists(cells) is None:
            classes = np.unique([_together(each) for each in tried], return_inverse=True)[1]
            yield from giveaways(Judged(classes.astype(np.int64), self._folds(rows)), *self._plain(rows))
        else:
            yield from label_giveaways(tried, self._folds(rows), *self._plain(rows))
        for field in self.inputs:
            if field.modality == "text":
                texts = [self.train[field.name][row] for row in rows]
                yield from spoken(field.name, ["" if is_missing(text) else str(text) for text in texts], tried)

    def _folds(self, rows: np.ndarray) -> np.ndarray:
        """In which part each of the rows is left out; those of one group are in the same."""
        return folds(linked(self._groups() or [np.arange(len(self.train[str(self.target)]))])[rows])

    def _plain(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Of these rows, the keys of the columns that are no files, and the numbers of those that hold some."""
        plain = [field.name for field in self.inputs if field.modality not in _FILES]
        numbers = {name: self._numbers(name)[rows] for name in plain if name in self.readers}
        return {name: self.keys[name]["train"][rows] for name in plain}, numbers

    def _numbers(self, name: str) -> np.ndarray:
        """A numeric column, float64 [R]; NaN where it is missing or no number."""
        return np.array([read_or_nan(self.readers[name], cell) for cell in self.train[name]], np.float64)


def _classes(cells: Sequence[Any], separator: str) -> list[list[str] | None]:
    """The class of each row, or its labels where they are lists or texts with a separator; None without a target."""
    return [None if is_missing(cell) else labels_of(cell, separator) for cell in cells]


def _together(labels: Sequence[str]) -> str:
    return " | ".join(sorted(labels))


def _column(tables: Mapping[str, Cells], name: str) -> Cells:
    """A column's cells by split; None in every row of a table that lacks it."""
    return {split: each.get(name) or [None] * len(next(iter(each.values()))) for split, each in tables.items()}


def _remembering(read: Reader) -> Reader:
    """The same reader, which reads a value once; what cannot be looked up, a list, it reads each time."""
    known = cache(read)
    return lambda cell: read(cell) if isinstance(cell, (list, dict)) else known(cell)
