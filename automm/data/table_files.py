"""Plain tables on disk -> columns of Python values, by pyarrow."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from automm.data.json_records import read_jsonl
from automm.errors import DataError

Cells = dict[str, list[Any]]  # by column; a missing cell is None
OfBytes = Callable[[bytes], Any]
_Read = Callable[[Path, OfBytes, Collection[str]], Cells]

_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # the marks that such a file begins with
_ROWS = 512  # of a Parquet file that are held as bytes at a time
_WORKERS = min(4, os.cpu_count() or 1)


def read_cells(path: Path, of_bytes: OfBytes = bytes, texts: Collection[str] = ()) -> Cells:
    """Every column of a .csv, .tsv, .parquet or .jsonl file; an empty cell of a CSV is missing.

    Dates and times become ISO 8601 texts, as a row that is to be predicted has them; a time with a zone is taken to
    UTC. What bytes in a Parquet file become, `of_bytes` says, a few rows at a time: they may be all of the images. The
    columns `texts` of a CSV are left as they are written.

    Raises:
        DataError: it is none of these, or cannot be read; the message names file and row where that is known.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path} is no table that automm reads: {', '.join(_READERS)}. Next: convert it to one of these."
        )
    try:
        cells = reader(path, of_bytes, texts)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix[1:]}: {error}. Next: mend the file.") from error
    if not cells or not next(iter(cells.values())):
        raise DataError(f"{path} has no rows. Next: check that it is the right file.")
    return cells


def _csv(delimiter: str) -> _Read:
    def read(path: Path, _: OfBytes, texts: Collection[str]) -> Cells:
        with path.open("rb") as file:
            if file.read(2) in _UTF16:
                raise DataError(f"{path} is UTF-16 text, not UTF-8. Next: save it as UTF-8.")
        table = pa.csv.read_csv(
            path,
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                null_values=[""], strings_can_be_null=True, column_types=dict.fromkeys(texts, pa.string())
            ),
        )
        names = _names(table.schema, path)
        return {name: _texts(plain_values(table[name]), name, path) for name in names}

    return read


def _parquet(path: Path, of_bytes: OfBytes, _: Collection[str]) -> Cells:
    with pa.parquet.ParquetFile(path) as file:
        cells: Cells = {name: [] for name in _names(file.schema_arrow, path)}
        for batch in file.iter_batches(_ROWS):
            for name in cells:
                cells[name] += made_of(plain_values(batch[name]), of_bytes)
    return cells


def made_of(cells: Sequence[Any], of_bytes: OfBytes) -> list[Any]:
    """The cells with what `of_bytes` makes of those that are bytes, several at once."""
    if of_bytes is bytes or not any(isinstance(cell, bytes) for cell in cells):
        return list(cells)
    with ThreadPoolExecutor(_WORKERS, "automm-cells") as pool:
        return list(pool.map(lambda cell: of_bytes(cell) if isinstance(cell, bytes) else cell, cells))


def _names(schema: pa.Schema, path: Path) -> list[str]:
    try:
        names: list[str] = schema.names
    except UnicodeDecodeError as error:
        raise DataError(f"{path} has column names that are not UTF-8 ({error}). Next: save it as UTF-8.") from error
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        found = ", ".join(sorted(twice))
        raise DataError(f"{path}: columns stand in the table twice: {found}. Next: rename one of each.")
    return names


def plain_values(column: Any) -> list[Any]:
    """The values of an Arrow column; dates and times as text, decimals as floats, files of `datasets` as it holds them.

    Those are a struct of the bytes and the path: of one that has both the bytes count. Empty bytes are no missing cell.
    """
    kind = column.type
    if pa.types.is_struct(kind) and {field.name for field in kind} == {"bytes", "path"}:
        files: list[Any] = column.to_pylist()
        return [None if file is None else file["bytes"] or file["path"] or file["bytes"] for file in files]
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.int64()).cast(pa.timestamp(kind.unit))  # what Arrow counts in is UTC
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind) and not pa.types.is_interval(kind):
        column = pa.compute.replace_substring_regex(column.cast(pa.string()), r"\.0+$", "")
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    values: list[Any] = column.to_pylist()
    return values


def _texts(cells: list[Any], name: str, path: Path) -> list[Any]:
    """The cells of a CSV, none of which is left as bytes: Arrow reads a text that is not UTF-8 as such."""
    for row, cell in enumerate(cells, 1):
        try:
            if isinstance(cell, bytes):
                cell.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}, row {row}, column {name!r}: {cell[:60]!r} is not UTF-8 (byte {cell[error.start]:#04x}). "
                "Next: save the file as UTF-8; Latin-1 or Windows-1252 is what such bytes often are."
            ) from error
    return cells


def _jsonl(path: Path, _: OfBytes, __: Collection[str]) -> Cells:
    rows: list[dict[str, Any]] = []
    for number, row in read_jsonl(path):
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} is {type(row).__name__}, not an object. Next: mend the line.")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


_READERS: dict[str, _Read] = {
    ".csv": _csv(","),
    ".tsv": _csv("\t"),
    ".parquet": _parquet,
    ".jsonl": _jsonl,
}
SUFFIXES = tuple(_READERS)
