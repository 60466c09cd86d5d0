"""What is told of a table before anything trains: its columns, its target, and what looks like a leak. Plain data.

Images are looked at one by one and let go; scikit-learn is loaded when there is a target to be predicted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from automm.data.column_facts import ColumnFacts, column_facts
from automm.data.glimpse import Glimpse, glimpses
from automm.data.hearing import Heard, heard
from automm.data.inspection import Inspection
from automm.data.leaks import Finding
from automm.data.schema import infer, kept_as_written
from automm.data.table_files import Cells, read_cells
from automm.data.targets import suited_task
from automm.errors import DataError, near_miss
from automm.runtime.categories import category
from automm.runtime.distinct import is_missing
from automm.types import FILES, FieldSpec


@dataclass(frozen=True)
class TargetFacts:
    """What is to be predicted."""

    name: str
    task: str
    reason: str
    missing: int  # rows without a target
    counts: tuple[tuple[str, int], ...]  # rows by class or label, the commonest first; empty for numbers
    quartiles: tuple[float, ...]  # of numbers: least, quartiles, most


@dataclass(frozen=True)
class Description:
    """All that is told."""

    files: Mapping[str, str]  # by split
    rows: Mapping[str, int]
    columns: tuple[ColumnFacts, ...]
    target: TargetFacts | None
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()  # what was not looked at


def describe(paths: Mapping[str, Path], *, target: str | None, group: str | None, memo: Path) -> Description:
    """Look at the tables of one data set.

    Args:
        paths: by split, `train` first; `valid` and `test` where they have files of their own.
        target: the column to predict, where there is one.
        group: the column whose rows belong together, where there is one.
        memo: where digests and thumbnails of files are kept between calls.

    Raises:
        DataError: a file cannot be read, or lacks a column that is named.
    """
    cells = {"train": read_cells(paths["train"], Glimpse.of)}
    for option, name in (("--target", target), ("--group", group)):
        if name is not None and name not in cells["train"]:
            raise DataError(f"{option} {name}: {paths['train']} has no such column. {near_miss(name, cells['train'])}")
    fields, unusable = _fields(cells["train"], target, group)
    texts = kept_as_written(fields.values())
    cells |= {split: read_cells(path, Glimpse.of, texts) for split, path in paths.items() if split != "train"}
    looked = _looked_at(cells, fields, paths, memo)
    inspection = Inspection(cells, looked, fields, target, group)
    return Description(
        files={split: str(path) for split, path in paths.items()},
        rows={split: len(next(iter(each.values()))) for split, each in cells.items()},
        columns=tuple(
            column_facts(looked["train"][name], cells["train"][name], fields[name], inspection.readers.get(name))
            if name in fields
            else ColumnFacts.unusable(name, cells["train"][name], unusable[name])
            for name in cells["train"]
        ),
        target=None if target is None else _target_facts(target, cells["train"][target]),
        findings=tuple(inspection.findings()),
        remarks=tuple(remark for near in inspection.near if (remark := near.remark())),
    )


def _fields(train: Cells, target: str | None, group: str | None) -> tuple[dict[str, FieldSpec], dict[str, str]]:
    """The field of every column, as a run infers it, and of those that are of no use the reason."""
    fields, unusable = {}, {}
    for name, cells in train.items():
        seen = min((cell for cell in cells if isinstance(cell, Glimpse)), key=lambda cell: cell.problem, default=None)
        try:
            if name == group:
                fields[name] = FieldSpec(name, "categorical", "group", "as --group says")
            elif seen is None:
                fields[name] = infer(name, cells, "target" if name == target else "input")
            elif seen.problem:
                unusable[name] = f"bytes of no image: {seen.problem}"
            else:
                fields[name] = FieldSpec(name, "image", "input", "every value is the bytes of an image")
        except DataError as error:
            unusable[name] = str(error)
    return fields, unusable


def _looked_at(
    cells: Mapping[str, Cells], fields: Mapping[str, FieldSpec], paths: Mapping[str, Path], memo: Path
) -> dict[str, Cells]:
    """The tables by split, with a Glimpse for every image and a Heard for every clip.

    A column that a file lacks is missing in all of its rows.
    """
    out: dict[str, Cells] = {}
    for split, each in cells.items():
        rows = len(next(iter(each.values())))
        out[split] = {}
        for name, field in fields.items():
            column = each.get(name, [None] * rows)
            if field.modality in FILES and field.role == "input":
                column = [None if is_missing(c) else c if isinstance(c, (bytes, Glimpse)) else str(c) for c in column]
                look = _seen if field.modality == "image" else _heard
                known = look({c for c in column if c is not None}, paths[split].absolute().parent, memo)
                column = [known.get(cell) for cell in column]
            out[split][name] = column
    return out


def _seen(cells: set[Any], folder: Path, memo: Path) -> Mapping[Any, Glimpse]:
    return glimpses(sorted(cells, key=str), folder, memo)


def _heard(cells: set[Any], folder: Path, memo: Path) -> Mapping[Any, Heard]:
    return heard(sorted(cell for cell in cells if isinstance(cell, str)), folder, memo)


def _target_facts(name: str, cells: list[Any]) -> TargetFacts:
    task, reason = suited_task(cells)
    known = [cell for cell in cells if not is_missing(cell)]
    counts: Counter[str] = Counter()
    quartiles: tuple[float, ...] = ()
    if task == "regression":
        quartiles = tuple(np.quantile([cell for cell in known if np.isfinite(cell)], (0, 0.25, 0.5, 0.75, 1)).tolist())
    elif task == "multilabel":
        counts.update(str(label) for labels in known for label in labels)
    else:
        counts.update(map(category, known))
    ordered = tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
    return TargetFacts(name, task, reason, len(cells) - len(known), ordered, quartiles)
