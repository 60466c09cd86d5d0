"""What is told of one column: how it is read and why, what is missing, and what it holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from automm.data.glimpse import Glimpse
from automm.data.hearing import Heard
from automm.runtime.categories import category
from automm.runtime.distinct import is_missing
from automm.runtime.quantities import Reader, read_or_nan
from automm.types import FieldSpec

_SHOWN = 3
_COMMONEST = 5  # values that are listed with their rows,
_FEW = 20  # of numbers that are no more different ones than that, as a target of more is a quantity,
_REPEATS = 5  # and stand in so many rows on average
_LONG = 32  # characters of an example
_SPARSE = 0.5  # of the cells missing is worth a word
_FORMULA = re.compile(r"[=@]\s*[\w'\"(+-]|[+-]\s*[A-Za-z]\w*[(|!]")


@dataclass(frozen=True)
class ColumnFacts:
    """A row of the description."""

    name: str
    modality: str  # empty where it is none
    role: str  # input, target, group, id, or `unusable`
    reason: str
    missing: float  # share of the rows
    distinct: int
    shows: str  # examples, or the range
    notes: tuple[str, ...] = ()
    commonest: tuple[tuple[str, int], ...] = ()  # values and their rows, of categories and of numbers that are few

    @classmethod
    def unusable(cls, name: str, cells: Sequence[Any], reason: str) -> ColumnFacts:
        """Of a column that is of no use as it stands."""
        missing = sum(map(is_missing, cells)) / len(cells)
        return cls(name, "", "unusable", reason, missing, len({str(c) for c in cells if not is_missing(c)}), "")


def column_facts(looked: Sequence[Any], cells: Sequence[Any], field: FieldSpec, read: Reader | None) -> ColumnFacts:
    """Of one column of the training table.

    Args:
        looked: its cells, images as Glimpse, clips as Heard.
        cells: as they stand in the file.
        field: how it is read, and why.
        read: reads a cell of a numeric column.
    """
    known = [cell for cell in cells if not is_missing(cell)]
    seen = [cell for cell in looked if isinstance(cell, Glimpse)]
    heard = [cell for cell in looked if isinstance(cell, Heard)]
    distinct = len({cell if isinstance(cell, (str, int, float, Glimpse)) else str(cell) for cell in known})
    notes = list(_notes(known, distinct, len(cells), field))
    odd = [cell for cell in known if read is not None and isnan(read_or_nan(read, cell))]
    if odd:
        notes.append(
            f"{len(odd)} of {len(known)} are neither numbers nor dates as the others are; the first: {shown(odd[0])!r}"
        )
    if seen or heard:
        notes += _file_notes(cells, looked, "pictures" if seen else "clips")
    shows = (
        _sizes(seen)
        if seen
        else _lengths(heard)
        if heard
        else _examples(known)
        if read is None
        else _range(known, read)
    )
    return ColumnFacts(
        field.name,
        field.modality,
        field.role,
        field.reason,
        (len(cells) - len(known)) / len(cells),
        distinct,
        shows,
        tuple(notes),
        tuple(_commonest(known, field)),
    )


def shown(cell: Any, most: int = _LONG) -> str:
    """A cell as it may be printed: short, without control characters."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(cell)).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _notes(known: Sequence[Any], distinct: int, rows: int, field: FieldSpec) -> Iterator[str]:
    if distinct == 1 and rows > 1 and field.role == "input":
        yield "the same in every row that has it: it tells nothing"
    if len(known) < _SPARSE * rows:
        yield f"missing in {rows - len(known)} of {rows} rows"
    formulas = [cell for cell in known if isinstance(cell, str) and _FORMULA.match(cell)]
    if formulas:
        example = shown(formulas[0])
        yield f"{len(formulas)} cell(s) begin as a spreadsheet's formula does, such as {example!r}: kept as text"


def _commonest(known: Sequence[Any], field: FieldSpec) -> list[tuple[str, int]]:
    """The commonest values with their rows, the first in the alphabet before others of as many."""
    if field.modality not in ("categorical", "numeric") or field.role == "group":
        return []
    counts = Counter(category(cell) if isinstance(cell, (str, int, float)) else str(cell) for cell in known)
    if field.modality == "numeric" and not len(counts) <= min(_FEW, len(known) / _REPEATS):
        return []
    first = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:_COMMONEST]
    return [(shown(value), count) for value, count in first]


def _file_notes(cells: Sequence[Any], looked: Sequence[Any], what: str) -> Iterator[str]:
    pairs = [(cell, seen) for cell, seen in zip(cells, looked, strict=True) if isinstance(seen, (Glimpse, Heard))]
    broken = [seen for _, seen in pairs if seen.problem]
    if broken:
        yield f"{len(broken)} of {len(pairs)} cannot be used; the first: {broken[0].problem}"
    names = {cell for cell, seen in pairs if not seen.problem}
    held = {seen.digest for _, seen in pairs if not seen.problem}
    if len(held) < len(names):
        yield f"{len(held)} different {what} under {len(names)} names"


def _sizes(seen: Sequence[Glimpse]) -> str:
    sizes = sorted({(each.width, each.height) for each in seen if not each.problem}, key=lambda s: s[0] * s[1])
    if not sizes:
        return ""
    least, most = (f"{width} x {height}" for width, height in (sizes[0], sizes[-1]))
    return least if least == most else f"{least} to {most}"


def _lengths(heard: Sequence[Heard]) -> str:
    seconds = [each.seconds for each in heard if not each.problem]
    if not seconds:
        return ""
    least, most = f"{min(seconds):.3g} s", f"{max(seconds):.3g} s"
    return least if least == most else f"{least} to {most}"


def _range(known: Sequence[Any], read: Reader) -> str:
    """The cells that are least, in the middle and most."""
    values = [(read_or_nan(read, cell), at) for at, cell in enumerate(known)]
    order = sorted((value, at) for value, at in values if not isnan(value))
    if not order:
        return ""
    least, middle, most = (shown(known[order[at][1]]) for at in (0, len(order) // 2, -1))
    return f"{least} to {most}, median {middle}"


def _examples(known: Sequence[Any]) -> str:
    """The commonest cells; where none repeats, the first."""
    return ", ".join(repr(shown(cell)) for cell, _ in Counter(map(str, known)).most_common(_SHOWN))
