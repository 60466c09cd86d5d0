"""Repeated cells, so that whatever costs something a value (decode, tokenise, encode) is done once a value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np


def is_missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, a NaN number, or a text without a visible character."""
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or (isinstance(value, (float, np.floating)) and bool(np.isnan(value)))


def distinct(cells: Sequence[Any]) -> tuple[list[Any], np.ndarray, np.ndarray]:
    """The distinct values of a column of cells.

    Strings, bytes, paths and numbers are compared by value; arrays and images by identity, which is what a caller who
    asks twenty questions about one picture hands over.

    Returns:
        The values (at least one: None when every cell is missing), the value of each row as int64 [B] (0 where it is
        missing), and bool [B]: whether the row has a value at all.
    """
    at: dict[Any, int] = {}
    values: list[Any] = []
    index = np.zeros(len(cells), np.int64)
    present = np.zeros(len(cells), np.bool_)
    for row, cell in enumerate(cells):
        if is_missing(cell):
            continue
        key = (type(cell), cell) if isinstance(cell, (str, bytes, int, float, PurePath)) else id(cell)
        if key not in at:
            at[key] = len(values)
            values.append(cell)
        index[row], present[row] = at[key], True
    return values or [None], index, present
