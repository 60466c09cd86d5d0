"""Plain tables on disk -> columns of Python values, by pyarrow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from automm.data.json_records import read_jsonl
from automm.errors import DataError

Cells = dict[str, list[Any]]  # by column; a missing cell is None


def read_cells(path: Path) -> Cells:
    """Every column of a .csv, .tsv, .parquet or .jsonl file; an empty cell of a CSV is missing.

    Raises:
        DataError: it is none of these, or cannot be read; the message names file and row where that is known.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path} is no table that automm reads: {', '.join(_READERS)}. Next: convert it to one of these."
        )
    try:
        cells = reader(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}. Next: mend the file.") from error
    if not cells or not next(iter(cells.values())):
        raise DataError(f"{path} has no rows. Next: check that it is the right file.")
    return cells


def _csv(delimiter: str) -> Callable[[Path], Cells]:
    def read(path: Path) -> Cells:
        table = pa.csv.read_csv(
            path,
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(null_values=[""], strings_can_be_null=True),
        )
        return _cells(table)

    return read


def _parquet(path: Path) -> Cells:
    return _cells(pa.parquet.read_table(path))


def _cells(table: pa.Table) -> Cells:
    twice = {name for name in table.column_names if table.column_names.count(name) > 1}
    if twice:
        raise DataError(f"columns stand in the table twice: {', '.join(sorted(twice))}. Next: rename one of each.")
    return {name: table[name].to_pylist() for name in table.column_names}


def _jsonl(path: Path) -> Cells:
    rows: list[dict[str, Any]] = []
    for number, row in read_jsonl(path):
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} is {type(row).__name__}, not an object. Next: mend the line.")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


_READERS: dict[str, Callable[[Path], Cells]] = {
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".parquet": _parquet,
    ".jsonl": _jsonl,
}
