"""What the columns of a plain table hold, inferred from their cells, with the reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from automm.errors import DataError, OutOfRange, UnknownKey, near_miss
from automm.runtime.numbers import written
from automm.types import FieldSpec, Modality, Role

ENCODABLE: tuple[Modality, ...] = ("image", "text", "numeric", "categorical")  # what encoders exist for today

_IMAGE_FILE = re.compile(r".+\.(?:png|jpe?g|gif|bmp|webp|tiff?)", re.IGNORECASE)
_CODE = re.compile(r"\s*0\d")
_REPEATS = 5  # a word that stands in this many rows on average is a category
_SENTENCE = 3  # words; what is as long is text however often it is repeated


def infer(name: str, cells: Sequence[Any], role: Role = "input") -> FieldSpec:
    """One column's field. Missing cells are None.

    Raises:
        DataError: the cells are missing altogether, or of a kind that is no modality.
    """
    known = [cell for cell in cells if cell is not None]
    if not known:
        raise DataError(f"column {name!r} is empty. Next: leave it out, data.drop=[{name}].")
    kinds = {type(cell) for cell in known}
    if kinds <= {int, float}:
        return FieldSpec(name, "numeric", role, f"{len(known)} numbers")
    if kinds == {bool}:
        return FieldSpec(name, "categorical", role, "true or false")
    if kinds == {list} and role == "target":
        return FieldSpec(name, "categorical", role, "lists of labels")
    if kinds != {str}:
        found = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise DataError(f"column {name!r} holds {found}, which is no modality. Next: leave it out, data.drop=[{name}].")
    if all(_IMAGE_FILE.fullmatch(cell) for cell in known):
        return FieldSpec(name, "image", role, f"every value is the name of an image file, such as {known[0]!r}")
    if role == "input" and _are_numbers(known):
        return FieldSpec(name, "numeric", role, f"{len(known)} numbers written as text, such as {known[0]!r}")
    distinct, words = len(set(known)), sum(len(cell.split()) for cell in known) / len(known)
    reason = f"{distinct} distinct strings in {len(known)} rows, {words:.1f} words on average"
    category = distinct * _REPEATS <= len(known) and words < _SENTENCE
    return FieldSpec(name, "categorical" if category else "text", role, reason)


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether all of these strings are numbers, in one unit or none; with leading zeros they are codes."""
    try:
        return len({written(cell)[1] for cell in cells}) == 1 and not any(map(_CODE.match, cells))
    except DataError:
        return False


def infer_inputs(columns: Mapping[str, Sequence[Any]], given: Mapping[str, str]) -> tuple[FieldSpec, ...]:
    """The input fields of a table, in order; `given` says what a column's modality is.

    Raises:
        UnknownKey: `given` names a column that is not there.
        OutOfRange: `given` names no modality.
        DataError: there is no input, or one that no encoder reads.
    """
    for name, modality in given.items():
        if name not in columns:
            raise UnknownKey(f"data.columns.{name}: the table has no such input column. {near_miss(name, columns)}")
        if modality not in get_args(Modality):
            raise OutOfRange(
                f"data.columns.{name}={modality} is no modality. {near_miss(str(modality), get_args(Modality))}"
            )
    fields = tuple(
        FieldSpec(name, cast(Modality, given[name]), "input") if name in given else infer(name, cells)
        for name, cells in columns.items()
    )
    if not fields:
        raise DataError("the table has no input column. Next: see data.drop, data.target and data.group.")
    _check_encodable(fields)
    return fields


def _check_encodable(fields: Sequence[FieldSpec]) -> None:
    useless = [field for field in fields if field.modality not in ENCODABLE]
    if useless:
        found = "; ".join(f"{f.name!r} is {f.modality} ({f.reason or 'as data.columns says'})" for f in useless)
        raise DataError(
            f"encoders read {' and '.join(ENCODABLE)} columns today, and the table has others: {found}. Next: "
            f"leave them out with data.drop=[{','.join(f.name for f in useless)}], or read one of them as text with "
            f"data.columns.{useless[0].name}=text."
        )
