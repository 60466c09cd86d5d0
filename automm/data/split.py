"""Splitting a table in two: seeded, stratified or grouped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from automm.data.packed import packed, picked
from automm.errors import DataError
from automm.types import Column, Table


def split_rows(
    rows: int,
    *,
    fraction: float,
    seed: int,
    groups: np.ndarray | None = None,
    strata: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the larger and of the smaller part, both ascending; the smaller holds about `fraction` of them.

    Rows of one group (an array [rows] of anything that sorts) stay on one side. With `strata` (likewise) each stratum
    is shared out in the same proportion, as far as the groups allow; those too small for that are shared out together.

    Raises:
        DataError: one side would be empty.
    """
    if not 0 < fraction < 1:
        raise DataError(f"a split needs a fraction between 0 and 1, not {fraction}")
    group = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    stratum = np.zeros(rows, np.int64) if strata is None else _strata(strata, fraction)
    members = _members(group)
    wanted = np.bincount(stratum) * fraction
    small = np.zeros(rows, bool)
    for each in np.random.default_rng(seed).permutation(len(members)):
        counts = Counter(stratum[members[each]].tolist())
        if sum(abs(wanted[s] - n) - abs(wanted[s]) for s, n in counts.items()) < 0:
            small[members[each]] = True
            for s, n in counts.items():
                wanted[s] -= n
    if not small.any() or small.all():
        raise DataError(
            f"{rows} rows in {len(members)} groups cannot be split so that {fraction:.0%} of them are for validation. "
            "Next: give more rows, another fraction, or a validation set of its own."
        )
    return np.flatnonzero(~small), np.flatnonzero(small)


def split_folds(
    rows: int, *, folds: int, seed: int, groups: np.ndarray | None = None, strata: np.ndarray | None = None
) -> np.ndarray:
    """The fold of each row, int64 [rows] from 0 to `folds - 1`, of about the same size; as `split_rows` in the rest.

    Raises:
        DataError: a fold would be empty.
    """
    fold, left = np.full(rows, folds - 1, np.int64), np.arange(rows)
    for k in range(folds - 1):
        left_groups, left_strata = (None if each is None else each[left] for each in (groups, strata))
        rest, drawn = split_rows(len(left), fraction=1 / (folds - k), seed=seed, groups=left_groups, strata=left_strata)
        fold[left[drawn]] = k
        left = left[rest]
    return fold


def split_latest(
    times: np.ndarray, *, fraction: float, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the earlier and of the later part, both ascending; the later holds about `fraction` of them.

    Nothing is drawn: every row of the later part comes after all of the earlier. Rows of one time (float64 [rows]) stay
    on one side, and so do those of one group (an array [rows] of anything that sorts). Of the cuts that leaves, the one
    nearest to the fraction is taken.

    Raises:
        DataError: it leaves none.
    """
    when = np.unique(times, return_inverse=True)[1].reshape(-1)
    later = np.bincount(when)[::-1].cumsum()[::-1]  # by time: the rows from it on
    may_cut = np.arange(len(later)) > 0  # by time: whether the later part may begin with it
    for members in [] if groups is None else _members(np.unique(groups, return_inverse=True)[1].reshape(-1)):
        may_cut[when[members].min() + 1 : when[members].max() + 1] = False
    cuts = np.flatnonzero(may_cut)[::-1]  # of two as near, the later
    if not len(cuts):
        across = ", and rows that belong together (a group, an image) lie on both sides of each" * (len(later) > 1)
        raise DataError(
            f"{len(times)} rows cannot be split by time: there are {len(later)} different times{across}. "
            "Next: another column for data.time, no data.group, or files of their own for validation and test."
        )
    cut = cuts[np.abs(later[cuts] - fraction * len(times)).argmin()]
    return np.flatnonzero(when < cut), np.flatnonzero(when >= cut)


def linked(keys: Sequence[np.ndarray]) -> np.ndarray:
    """A group number a row, int64 [rows]: rows that share a value of any key (int [rows], negative = none) are in one.

    Two images in a row link it to the rows that show either.
    """
    label = np.arange(len(keys[0]), dtype=np.int64)
    while True:
        before = label
        for key in keys:
            known = key >= 0
            lowest = np.full(int(key.max(initial=-1)) + 1, len(key), np.int64)
            np.minimum.at(lowest, key[known], label[known])
            label = label.copy()
            label[known] = lowest[key[known]]
        if np.array_equal(before, label):
            return label


def same_inputs(columns: Sequence[Column]) -> np.ndarray:
    """A number a row, int64 [rows], equal where all of its input cells are."""
    cells = np.stack([column.index for column in columns], axis=1)
    return np.asarray(np.unique(cells, axis=0, return_inverse=True)[1], np.int64).reshape(-1)


def take(table: Table, rows: np.ndarray) -> Table:
    """The given rows as a table; its columns hold only the values that are used."""
    return Table(
        schema=table.schema,
        columns={name: _take_column(column, rows) for name, column in table.columns.items()},
        targets=picked(table.targets, rows),
        ids=picked(table.ids, rows),
        groups={name: values[rows] for name, values in table.groups.items()},
        together=None if table.together is None else table.together[rows],
    )


def joined(first: Table, second: Table) -> Table:
    """The rows of both tables, which have the same columns; a value that both have is there twice.

    Which rows belong together is what each table says of its own: none of the one is held to belong to any of the
    other, which drawing and the checks of files and groups see to. Rows alike in all inputs may still be in both, where
    tables were given (they are logged).
    """
    columns = {}
    for name, column in first.columns.items():
        other = second.columns[name]
        moved = np.where(other.index < 0, -1, other.index + len(column.values))
        columns[name] = Column(packed([*column.values, *other.values]), np.concatenate([column.index, moved]))
    return Table(
        first.schema,
        columns,
        packed([*first.targets, *second.targets]),
        packed([*first.ids, *second.ids]),
        {name: np.concatenate([values, second.groups[name]]) for name, values in first.groups.items()},
        None if first.together is None and second.together is None else _numbered([first, second]),
    )


def _numbered(tables: Sequence[Table]) -> np.ndarray:
    """What belongs together in tables that have nothing in common, int64 [rows of all]."""
    numbers, known = [], 0
    for table in tables:
        number = np.arange(len(table)) if table.together is None else table.together
        numbers.append(number + known)
        known += int(number.max(initial=-1)) + 1
    return np.concatenate(numbers)


def _strata(values: np.ndarray, fraction: float) -> np.ndarray:
    """Numbers from 1 for the strata that can give a row, 0 for all the others."""
    stratum = np.unique(values, return_inverse=True)[1].reshape(-1) + 1
    return np.where(np.bincount(stratum)[stratum] * fraction >= 0.5, stratum, 0)


def _members(group: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _take_column(column: Column, rows: np.ndarray) -> Column:
    index = column.index[rows]
    used, inverse = np.unique(index[index >= 0], return_inverse=True)
    new = np.full(len(rows), -1, np.int64)
    new[index >= 0] = inverse
    return Column(picked(column.values, used), new)
