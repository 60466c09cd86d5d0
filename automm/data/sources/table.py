"""A plain table: one row an example, one column a field."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from automm.data.apart import check_tables
from automm.data.cell_files import CellFiles
from automm.data.drawing import Drawing, with_groups
from automm.data.image_files import check_mode, raw_file
from automm.data.packed import column_of, packed
from automm.data.places import Place, need_table, read_place
from automm.data.problems import Problems, check_on_error
from automm.data.repeats import rows_repeat
from automm.data.schema import infer, infer_columns, kept_as_written
from automm.data.source import Source
from automm.data.split import take
from automm.data.table_files import Cells
from automm.errors import ConfigError, DataError, OutOfRange, near_miss
from automm.runtime.categories import category
from automm.runtime.distinct import is_missing
from automm.runtime.quantities import Reader, reader
from automm.types import PAIR, FieldSpec, Schema, Skipped, Splits, Table

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Reading:
    """What the files of one load are read by, and what becomes of bad rows."""

    schema: Schema
    readers: Mapping[str, Reader]  # by numeric column: they know numbers as the training table has them
    cache_dir: Path
    skipped: list[Skipped]
    urls: dict[str, str]  # by path of a file that was downloaded


class TableSource(Source):
    """Rows of a .csv, .tsv, .parquet or .jsonl file, or of a data set of Hugging Face's `datasets`.

    The latter is a folder (what `save_to_disk` wrote, or any that `load_dataset` takes) or a name on the hub,
    `owner/name` or `owner/name:configuration`. Its own splits validate and test where nothing else is named.

    Modalities are inferred: columns of the names of image or audio files are images and audio (paths are relative to
    the table's file; with `urls` also URLs), as are those in bytes and base64; numbers are numbers, also as text with
    one unit or thousands separators, and so are dates; other strings are text, or a category where few of them are
    repeated often. Codes, UUIDs and running numbers, another in every row, are no input. A missing or blank cell is a
    missing modality; a row without a target cannot be used, nor one whose image or clip cannot be read or whose number
    or date is none. Where no target is named a row is a pair: its two columns belong together, which is what
    `task=retrieval` learns.

    Where no file is given for validation or test, rows are drawn: stratified by the target, and rows that share the
    group, a file or all of their inputs stay on one side. Where tables are given, sharing a group or a file with
    another is an error; rows alike in all inputs are logged. These are neither held together nor logged where they are
    to be expected: where all columns are categories, or numbers of at most 120 values, and the training table has at
    least twice as many rows as there are combinations of their values.

    With `time` the rows that are drawn are the latest ones instead: first those of the test, then those of validation.
    Rows of one time, of one group or with one image stay on one side; where no cut leaves them there, that is an error.

    Args:
        train: the table to train on, a file, a folder that `datasets` reads or a name on the hub; the others likewise.
        target: the column to predict; null = rows are pairs of two columns.
        valid: a table of its own for validation; null = a part of `train`.
        test: a table of its own for the test; null = a part of `train`. Without the target column nothing is measured.
        columns: modality by column, where the inferred one is wrong.
        drop: columns to leave out; one name or a list.
        group: a column whose rows belong together, such as a patient; it is no input.
        time: a column that says when a row was, as numbers or dates; what is drawn for validation and test is then
            the latest. It is no input unless `columns` names it.
        id: a column that names the rows in results; it is no input. null = the row's number in its file.
        valid_fraction: share of the rows left after the test that validate, where `valid` is null.
        test_fraction: share of the rows that test, where `test` is null; 0 = no test.
        folds: 2 or more judge a candidate by cross-validation: it is fitted once a fold, and every row left after the
            test validates once; it takes as many times as long. null = 5 where fewer than 200 rows would validate, else
            1; also 1 with `valid` or `time`, for pairs, and where too many rows belong together.
        on_error: `fail` or `skip`: what a row does that cannot be used.
        check_images: `decode` reads every image and clip to its end, `header` opens it only.
        outside: allow paths of files that leave the folder of the table's file.
        urls: allow http and https URLs of images and clips; each is downloaded once, into the cache directory.
    """

    def __init__(
        self,
        *,
        train: str | None = None,
        target: str | None = None,
        valid: str | None = None,
        test: str | None = None,
        columns: Mapping[str, str] | None = None,
        drop: Sequence[str] | str = (),
        group: str | None = None,
        time: str | None = None,
        id: str | None = None,
        valid_fraction: float = 0.15,
        test_fraction: float = 0.15,
        folds: int | None = None,
        on_error: str = "fail",
        check_images: str = "decode",
        outside: bool = False,
        urls: bool = False,
    ) -> None:
        if not 0 < valid_fraction < 1 or not 0 <= test_fraction < 1:
            raise OutOfRange(
                f"data.valid_fraction={valid_fraction}, data.test_fraction={test_fraction}: shares lie between 0 and 1"
            )
        if folds is not None and (folds < 1 or (folds > 1 and time is not None)):
            raise OutOfRange(
                f"data.folds={folds} is not allowed: 1 or more, and 1 with data.time, for what comes later would be "
                "learnt from."
            )
        self.folds = folds
        self.paths = {"train": train, "valid": valid, "test": test}
        self.target, self.group, self.time, self.id = target or "", group, time, id
        self.columns = dict(columns or {})
        self.drop = (drop,) if isinstance(drop, str) else tuple(drop)
        self.valid_fraction, self.test_fraction = valid_fraction, test_fraction
        self.on_error = check_on_error(on_error)
        self.urls = urls
        self.files = CellFiles(check_mode(check_images), outside, urls, stop=self.on_error == "fail")

    def load(self, seed: int, cache_dir: Path) -> Splits:
        """The tables; every path is checked before any file is read."""
        keys = {"train": "data.train", "valid": "data.valid", "test": "data.test"}
        named = {s: need_table(p, keys[s]) for s, p in self.paths.items() if p or s == "train"}
        cells = read_place(named["train"], "train")
        schema = self._schema(cells["train"], named["train"])
        for split, place in named.items():  # what is named goes before
            if split != "train":
                cells |= read_place(place, split, texts=kept_as_written(schema.fields))
        places = {split: named.get(split, named["train"]) for split in cells}
        readers = {
            field.name: reader([cell for cell in cells["train"][field.name] if not is_missing(cell)])
            for field in schema.inputs
            if field.modality == "numeric"
        }
        tables: dict[str, Table] = {}
        beside: dict[str, Cells] = {}
        reading = _Reading(schema, readers, cache_dir, [], {})
        for split, place in places.items():
            tables[split], beside[split] = self._table(cells[split], place, split, reading)
        copies = not rows_repeat(tables["train"])  # before rows are drawn: all tables go by it
        if not copies:
            log.info("rows alike in all inputs are no copies: columns of so few values repeat them by themselves")
        tables = {split: with_groups(t, beside[split], self.group, copies=copies) for split, t in tables.items()}
        drawing = Drawing(bool(self.target), self.group, self.time, self.folds)
        if "test" not in tables and self.test_fraction > 0:
            drawing.take_out("test", self.test_fraction, seed, tables, beside)
        folds = runoff_folds = None
        if "valid" not in tables:
            folds, runoff_folds = drawing.validate(self.valid_fraction, seed, tables, beside)
        elif (self.folds or 1) > 1:
            raise ConfigError(
                f"data.folds={self.folds}: {places['valid']} validates, and folds are drawn from the training table. "
                "Next: data.folds=1, or no table for validation."
            )
        check_tables(tables, beside, self.group, reading.urls, copies=copies)
        return Splits(tables["train"], tables["valid"], tables.get("test"), reading.skipped, folds, runoff_folds)

    def _schema(self, cells: Cells, place: Place) -> Schema:
        special = {"data.target": self.target, "data.group": self.group, "data.time": self.time, "data.id": self.id}
        named = [(key, name) for key, name in special.items() if name] + [("data.drop", name) for name in self.drop]
        for key, name in named:
            if name not in cells:
                raise DataError(f"{key}={name}: {place} has no such column. {near_miss(name, cells)}")
        aside = {name for key, name in named if key != "data.time" or name not in self.columns}
        fields = infer_columns({n: c for n, c in cells.items() if n not in aside}, self.columns, urls=self.urls)
        for field in fields:
            reason = field.reason or "as data.columns says"
            if field.role == "input":
                log.info("column %r is read as %s: %s", field.name, field.modality, reason)
            else:
                log.info("column %r is left out: %s; data.columns.%s=... would read it", field.name, reason, field.name)
        if not self.target:
            pair = " and ".join(field.name for field in fields if field.role == "input")
            log.info("data.target is not set: a row is a pair, %s belong together", pair)
            return Schema(fields)
        return Schema((*fields, infer(self.target, cells[self.target], "target")))

    def _table(self, cells: Cells, place: Place, split: str, reading: _Reading) -> tuple[Table, Cells]:
        """The usable rows of one place, and group and time of each."""
        schema = reading.schema
        wanted = [field.name for field in schema.inputs] + ([self.group] if self.group else [])
        labelled = bool(self.target) and self.target in cells
        for name in wanted if not self.target or (split == "test" and not labelled) else [*wanted, self.target]:
            if name not in cells:
                raise DataError(f"{place} lacks the column {name!r} of {self.paths['train']}. {near_miss(name, cells)}")
        rows = len(next(iter(cells.values())))
        columns = {field.name: _cells_of(field, cells[field.name], place) for field in schema.inputs}
        targets = cells[self.target] if labelled else [None if self.target else PAIR] * rows
        problems = Problems(str(place), self.on_error, reading.skipped)
        modalities = {field.name: field.modality for field in schema.inputs}
        columns, broken, urls = self.files.examine(columns, modalities, place.folder, reading.cache_dir)
        reading.urls.update(urls)
        broken |= {name: _no_numbers(name, columns[name], read) for name, read in reading.readers.items()}
        times = self._times(cells) if split == "train" else []  # rows are drawn from no other table
        usable = []
        for row in range(rows):
            problem = "it has no target" if labelled and _is_none(targets[row]) else ""
            problem = problem or next((bad[c] for name, bad in broken.items() if (c := columns[name][row]) in bad), "")
            if not problem and times and isinstance(when := times[row], str):
                problem = when
            if problem:
                problems.add(f"{place}, row {row + 1}: {problem}.")
            else:
                usable.append(row)
        problems.close(rows)
        names = packed(cells[self.id] if self.id in cells else list(range(rows)))
        whole = Table(schema, {name: column_of(c) for name, c in columns.items()}, packed(targets), names)
        beside: Cells = {self.group: [cells[self.group][row] for row in usable]} if self.group else {}
        if self.time and times:
            beside[self.time] = [times[row] for row in usable]
        return whole if len(usable) == rows else take(whole, np.array(usable)), beside

    def _times(self, cells: Cells) -> list[float | str]:
        """When each row was, or in a phrase what is wrong with the cell that should say it; empty where none shall."""
        if not self.time:
            return []
        read = reader([cell for cell in cells[self.time] if not is_missing(cell)])
        found: list[float | str] = []
        for cell in cells[self.time]:
            try:
                found.append(f"it has no time, column {self.time!r}" if is_missing(cell) else read(cell))
            except DataError as error:
                found.append(f"column {self.time!r}: {str(error).partition(' Next: ')[0].rstrip('.')}")
        return found


def _is_none(target: Any) -> bool:
    """Whether a target is missing; a blank text is not, for it may list no labels."""
    return target is None or (isinstance(target, float) and isnan(target))


def _cells_of(field: FieldSpec, cells: list[Any], place: Place) -> list[Any]:
    """Cells as raw values: a file's path is made absolute, base64 becomes bytes; a number stays as it stands, others
    become strings.

    Raises:
        DataError: a category is no plain value.
    """
    to_raw: dict[str, Callable[[Any], Any]] = {
        "image": lambda cell: raw_file(cell, place.folder, "image"),
        "audio": lambda cell: raw_file(cell, place.folder, "audio"),
        "numeric": lambda cell: cell if isinstance(cell, (int, float)) else str(cell),
        "categorical": category,
    }
    raw = to_raw.get(field.modality, str)
    try:
        return [None if is_missing(cell) else raw(cell) for cell in cells]
    except DataError as error:
        raise DataError(f"{place}, column {field.name!r}: {error}") from error


def _no_numbers(name: str, cells: Sequence[Any], read: Reader) -> dict[Any, str]:
    """What is wrong with each cell of a numeric column that is no number in the column's unit, or no date."""
    problems: dict[Any, str] = {}
    for cell in set(cells) - {None}:
        try:
            read(cell)
        except DataError as error:
            problems[cell] = f"column {name!r}: {str(error).partition(' Next: ')[0].rstrip('.')}"
    return problems
