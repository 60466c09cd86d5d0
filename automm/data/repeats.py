"""Whether rows alike in all inputs are copies, or what columns of a few values bring about by themselves.

Shape legend: R rows.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from automm.types import Modality, Table

_SCALE = 120  # different numbers that a rating, a count or an age may have; with more a column is a measurement
_EACH = 2  # rows for every row that there could be


def by_chance(columns: Iterable[tuple[Modality, np.ndarray]]) -> bool:
    """Whether rows alike in all inputs are to be expected, so that they are no copies.

    They are where there are no more than half as many rows to be told apart as the table has: the product of the
    columns' numbers of different values, a missing cell being one. All columns are categories or numbers, and none of
    these has more than 120 values. How many rows do repeat does not matter: those of measurements that a join or
    oversampling has repeated are copies, however many there are.

    Args:
        columns: modality of each input, and a number a cell, int64 [R], equal for equal cells, negative = missing.
    """
    possible = 1
    for modality, cell_R in columns:
        if modality not in ("numeric", "categorical"):
            return False
        values = len(np.unique(np.maximum(cell_R, -1)))
        possible *= values
        if (modality == "numeric" and values > _SCALE) or _EACH * possible > len(cell_R):
            return False
    return True


def rows_repeat(table: Table) -> bool:
    """`by_chance` of a table's inputs; the training table as it is read decides for all tables of a run."""
    return by_chance((field.modality, table.columns[field.name].index) for field in table.schema.inputs)
