"""Rows of a training table that are set apart to judge: a table of their own, or folds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from automm.data.packed import column_of
from automm.data.split import linked, same_inputs, split_folds, split_latest, split_rows, take
from automm.data.table_files import Cells
from automm.errors import DataError
from automm.types import FILES, Table

log = logging.getLogger(__name__)

_FEW = 200  # rows that tell candidates apart by some points of accuracy alone
_SOME = 2000  # rows on which an accuracy of 80 % has a standard error of nine tenths of a point
_FOLDS = 5  # where there would be no more of them
_RUNOFF_FOLDS = (10, _FOLDS)  # the first that groups allow: of fewer, fits learn from less (Kohavi, IJCAI 1995)


@dataclass(frozen=True)
class Drawing:
    """Which rows judge what is learnt from the others: drawn at random, or the latest.

    At random they are stratified by the target, and rows that belong together (`with_groups`) stay on one side; of the
    latest, rows of one time, of one file or of one group. Methods take tables by split and, beside each, the cells of
    the columns that are no input, and change both.

    Attributes:
        labelled: whether rows have a target; without one they are pairs.
        group: the column whose rows belong together.
        time: the column that says when a row was; what judges is then the latest.
        wanted: folds that were asked for; None = as many as few rows need.
    """

    labelled: bool
    group: str | None
    time: str | None
    wanted: int | None

    def validate(
        self, fraction: float, seed: int, tables: dict[str, Table], beside: dict[str, Cells]
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Have a share of the training rows validate, or all of them in folds; returns `Splits`' two kinds of folds.

        Raises:
            DataError: no split leaves together what belongs together.
        """
        folds = self._folds(fraction, seed, tables["train"])
        if folds is not None:
            return _share_out(folds, tables, beside), None
        self.take_out("valid", fraction, seed, tables, beside)
        return None, self._runoff_folds(seed, tables)

    def take_out(
        self, name: str, fraction: float, seed: int, tables: dict[str, Table], beside: dict[str, Cells]
    ) -> None:
        """Move a share of the training table's rows into one of their own.

        Raises:
            DataError: no split leaves together what belongs together.
        """
        train, cells = tables["train"], beside["train"]
        if self.time:
            keys = keys_of(train, cells, self.group)
            when = np.array(cells[self.time], np.float64)
            parts = split_latest(when, fraction=fraction, groups=linked(keys) if keys else None)
            share = len(parts[1]) / len(train)
            level = logging.INFO if fraction / 2 <= share <= fraction * 2 else logging.WARNING
            log.log(level, "%s: the %d latest rows by %r, %.1f %% of them", name, len(parts[1]), self.time, 100 * share)
        else:
            parts = split_rows(len(train), fraction=fraction, seed=seed, **self._at_random(train))
        _part(dict(zip(("train", name), parts, strict=True)), tables, beside)

    def _at_random(self, train: Table) -> dict[str, Any]:
        """What rows are drawn by, where they are drawn at random."""
        numbers = any(isinstance(target, float) for target in train.targets)
        return {
            "groups": train.together,
            "strata": None if numbers else np.array(list(map(str, train.targets))),
        }

    def _folds(self, fraction: float, seed: int, train: Table) -> np.ndarray | None:
        """The fold of every row of the training table; None where a part of them validates."""
        if self.wanted is not None:
            if self.wanted == 1:
                return None
            return split_folds(len(train), folds=self.wanted, seed=seed, **self._at_random(train))
        alone = round(len(train) * fraction)
        if self.time or not self.labelled or alone >= _FEW:
            return None
        try:
            folds = split_folds(len(train), folds=_FOLDS, seed=seed, **self._at_random(train))
        except DataError:
            log.info(
                "validation: %d rows tell little of two candidates apart, and too many belong together for %d folds",
                alone, _FOLDS,
            )  # fmt: skip
            return None
        log.info(
            "validation: %d rows would tell little of two candidates apart, so that each of the %d validates once, in "
            "%d folds; data.folds=1 fits a candidate once",
            alone, len(train), _FOLDS,
        )  # fmt: skip
        return folds

    def _runoff_folds(self, seed: int, tables: dict[str, Table]) -> np.ndarray | None:
        """Where few rows validate: the fold of every training row in which it judges the last candidates once more."""
        if self.time or not self.labelled or len(tables["valid"]) >= _SOME:
            return None
        train = tables["train"]
        at_random = self._at_random(train)
        for folds in _RUNOFF_FOLDS:
            with suppress(DataError):  # too many rows belong together
                return split_folds(len(train), folds=folds, seed=seed, **at_random)
        return None


def keys_of(table: Table, cells: Cells, group: str | None) -> list[np.ndarray]:
    """What says which rows show the same: a number a file, and one a group; int64 [rows] each, negative = none.

    Args:
        table: its images and clips are files.
        cells: the group's column, beside the table.
        group: its name, if rows have one.
    """
    keys = [table.columns[field.name].index for field in table.schema.inputs if field.modality in FILES]
    return keys + ([column_of(cells[group]).index] if group else [])


def with_groups(table: Table, cells: Cells, group: str | None, *, copies: bool) -> Table:
    """The table when it is known which rows belong together: those of one file, of one group, or copies of each other.

    Args:
        table: as `keys_of` takes it, and so the others.
        cells: likewise.
        group: likewise.
        copies: whether rows alike in all inputs are copies (`repeats`).
    """
    alike = [same_inputs(list(table.columns.values()))] if copies else []
    keys = [*alike, *keys_of(table, cells, group)]
    return replace(table, together=linked(keys)) if keys else table


def _part(rows: Mapping[str, np.ndarray], tables: dict[str, Table], beside: dict[str, Cells]) -> None:
    """Share the training table's rows out."""
    train, cells = tables["train"], beside["train"]
    for split, at in rows.items():
        tables[split] = take(train, at)
        beside[split] = {column: [values[row] for row in at] for column, values in cells.items()}


def _share_out(fold: np.ndarray, tables: dict[str, Table], beside: dict[str, Cells]) -> np.ndarray:
    """Let fold 0 validate; the fold of every row of the training table that is left and of the validation table."""
    _part({"train": np.flatnonzero(fold), "valid": np.flatnonzero(fold == 0)}, tables, beside)
    return np.concatenate([fold[fold > 0], fold[fold == 0]])
