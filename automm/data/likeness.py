"""When two cells, or two rows, are alike: the same but for case, spaces and punctuation, or the same picture or clip.

Shape legend: R rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from automm.data.glimpse import Glimpse
from automm.data.hearing import Heard
from automm.errors import DataError
from automm.runtime.distinct import is_missing
from automm.runtime.quantities import Reader
from automm.types import Modality

Keys = dict[str, np.ndarray]  # by split: int64 [R], equal for cells or rows that are alike, -1 where there is nothing

_WORD = re.compile(r"\w+")


def cell_keys(cells: Mapping[str, Sequence[Any]], modality: Modality, read: Reader | None = None) -> Keys:
    """Keys of one column's cells, by split.

    Args:
        cells: by split; an image is a Glimpse, a clip a Heard.
        modality: of the column.
        read: reads a numeric cell.
    """
    numbers: dict[Any, int] = {}
    return {split: _numbered([alike(c, modality, read) for c in each], numbers) for split, each in cells.items()}


def raw_keys(cells: Sequence[Any]) -> np.ndarray:
    """The same for cells that are equal as they stand, int64 [R]."""
    return _numbered([None if is_missing(cell) else cell for cell in cells], {})


def row_keys(columns: Sequence[Keys]) -> Keys:
    """Keys of rows that are alike in all columns; -1 where a row holds nothing at all."""
    splits = list(columns[0]) if columns else []
    cells = np.concatenate([np.stack([keys[split] for keys in columns], axis=1) for split in splits])
    key_R = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
    key_R = np.where((cells < 0).all(axis=1), -1, key_R)
    ends = np.cumsum([len(columns[0][split]) for split in splits])
    return dict(zip(splits, np.split(key_R, ends[:-1]), strict=True))


def alike(cell: Any, modality: Modality, read: Reader | None = None) -> Any:
    """What cells that are alike have in common; None of a missing one, or of a file that cannot be read."""
    if is_missing(cell):
        return None
    if isinstance(cell, (Glimpse, Heard)):
        return None if cell.problem else cell.digest
    if modality == "numeric" and read is not None and _hashes(cell):
        try:
            return read(cell)
        except DataError:
            return str(cell)
    return words(str(cell))


def words(text: str) -> str:
    """A text's words in small letters; where it has none, the text."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_WORD.findall(plain)) or plain.strip()


def _numbered(values: Sequence[Any], numbers: dict[Any, int]) -> np.ndarray:
    at = (-1 if v is None else numbers.setdefault(v if _hashes(v) else str(v), len(numbers)) for v in values)
    return np.fromiter(at, np.int64, len(values))


def _hashes(value: Any) -> bool:
    return not isinstance(value, (list, dict))
