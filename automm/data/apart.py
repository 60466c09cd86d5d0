"""Whether tables stand apart: what is learnt from one must not be in another that judges it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from automm.errors import DataError
from automm.types import FILES, Splits, Table

log = logging.getLogger(__name__)

_EXACT = 1 << 53  # whole numbers below are floats too


def check_disjoint(
    first: Sequence[Any],
    second: Sequence[Any],
    *,
    names: tuple[str, str],
    what: str,
    shown: Mapping[str, str] | None = None,
) -> None:
    """Raise unless no value of `first` is in `second`.

    Args:
        first: values of one set.
        second: values of the other.
        names: of the two sets.
        what: a value is.
        shown: what messages call a value, where that is not the value.

    Raises:
        DataError: leakage; the message counts the shared values and shows three.
    """
    shared = sorted((shown or {}).get(value, value) for value in map(str, set(first) & set(second)))
    if shared:
        some = ", ".join(f"{value:.80}" for value in shared[:3])  # bytes of an image are longer
        raise DataError(
            f"the {names[0]} and {names[1]} sets share {len(shared)} {what}(s), such as {some}: "
            "what is measured would be memory, not learning. Next: remove them from one of the two."
        )


def check_apart(splits: Splits, field: str) -> None:
    """Raise unless no two splits share a value of this field.

    Raises:
        DataError: as `check_disjoint`.
    """
    named = {"train": splits.train, "validation": splits.valid, "test": splits.test}
    shown = {name: table.columns[field].values for name, table in named.items() if table is not None}
    for one, other in itertools.combinations(shown, 2):
        check_disjoint(shown[one], shown[other], names=(one, other), what=field)


def check_tables(
    tables: Mapping[str, Table],
    beside: Mapping[str, Mapping[str, list[Any]]],
    group: str | None,
    urls: Mapping[str, str],
    *,
    copies: bool,
) -> None:
    """Raise where two of a run's tables share a file or a group; say how many rows they share that are copies.

    Args:
        tables: by split, `train` and whichever of `valid` and `test` there is.
        beside: by split and column, cells that are no input; the group's among them.
        group: the column whose rows belong together, if one was named.
        urls: by path, of files that were downloaded; messages name those.
        copies: whether rows alike in all inputs are copies (`repeats`).

    Raises:
        DataError: as `check_disjoint`.
    """
    names = {"train": "train", "valid": "validation", "test": "test"}
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        if other not in tables:
            continue
        pair = names[one], names[other]
        if group is not None:
            known = [{g for g in beside[split][group] if g is not None} for split in (one, other)]
            check_disjoint(list(known[0]), list(known[1]), names=pair, what=f"value of {group!r}")
        for field in tables[one].schema.inputs:
            if field.modality in FILES:
                files = [tables[split].columns[field.name].values for split in (one, other)]
                check_disjoint(*files, names=pair, what=f"{field.name!r} {field.modality}", shown=urls)
        if not copies:
            continue
        alike = [{_row_key(tables[t], i) for i in range(len(tables[t]))} for t in (one, other)]
        if alike[0] & alike[1]:
            log.warning("the %s and %s sets share %d rows alike in all inputs", *pair, len(alike[0] & alike[1]))


def _row_key(table: Table, row: int) -> int:
    """A number for all inputs of a row; as a whole number a cell is what it is as a float, for files differ in that."""
    cells = table.row(row).values()
    return hash(repr([float(cell) if type(cell) is int and abs(cell) < _EXACT else cell for cell in cells]))
