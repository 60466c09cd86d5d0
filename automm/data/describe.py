"""What is told of a table before anything trains: its columns, its target, and what looks like a leak. Plain data.

Images are looked at one by one and let go; scikit-learn is loaded when there is a target to be predicted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from automm.data.column_facts import ColumnFacts, column_facts
from automm.data.glimpse import Glimpse, glimpses
from automm.data.hearing import Heard, heard
from automm.data.inspection import Inspection
from automm.data.leaks import Finding
from automm.data.places import Place, read_place
from automm.data.schema import as_given, check_given, in_style, infer, kept_as_written
from automm.data.table_files import Cells
from automm.data.targets import label_lists, separator_of, suited_task
from automm.errors import DataError, near_miss
from automm.runtime.audio_files import begins_as_audio
from automm.runtime.categories import category
from automm.runtime.distinct import is_missing
from automm.types import FILES, FieldSpec, Modality

SPLITS: tuple[str, ...] = ("train", "valid", "test")


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


@dataclass(frozen=True)
class Asked:
    """What a run would be told of the columns.

    Args:
        target: the column to predict, where there is one.
        group: the column whose rows belong together, where there is one.
        columns: modality by column, where the inferred one is wrong.
        drop: columns to leave out.
    """

    target: str | None = None
    group: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()


def describe(places: Mapping[str, Place], asked: Asked, *, memo: Path) -> Description:
    """Look at the tables of one data set.

    Args:
        places: by split, `train` first; `valid` and `test` where they have tables of their own. A data set's own splits
            are looked at where nothing else is named.
        asked: what a run would be told.
        memo: where digests and thumbnails of files are kept between calls.

    Raises:
        DataError: a table cannot be read, or lacks a column that is named.
        UnknownKey: a modality is given for a column that is no input.
        OutOfRange: it is no modality.
        MissingExtra: a place needs the package `datasets`, which is not installed.
    """
    target, group = asked.target, asked.group
    found = read_place(places["train"], "train", _of_bytes)
    train = found["train"]
    _check(train, asked, places["train"])
    check_given([name for name in train if name not in (target, group)], asked.columns, "--columns ")
    left_out = set(asked.drop) - {target, group}
    fields, unusable = _fields({name: column for name, column in train.items() if name not in left_out}, asked)
    cells, places = _others(places, found, kept_as_written(fields.values()))
    cells = {split: {n: c for n, c in each.items() if n not in left_out} for split, each in cells.items()}
    looked = _looked_at(cells, fields, {split: place.folder for split, place in places.items()}, memo)
    inspection = Inspection(cells, looked, fields, target, group)
    return Description(
        files={split: str(places[split]) for split in cells},
        rows={split: len(next(iter(each.values()))) for split, each in cells.items()},
        columns=tuple(
            column_facts(looked["train"][name], cells["train"][name], fields[name], inspection.readers.get(name))
            if name in fields
            else ColumnFacts.unusable(name, cells["train"][name], unusable[name])
            for name in cells["train"]
        ),
        target=None if target is None else _target_facts(target, cells["train"][target]),
        findings=tuple(inspection.findings()),
        remarks=tuple(inspection.remarks()),
    )


def _others(
    places: Mapping[str, Place], found: Mapping[str, Cells], texts: Collection[str]
) -> tuple[dict[str, Cells], dict[str, Place]]:
    """The tables by split, and the place of each; what is named goes before a data set's own.

    Args:
        places: what was named.
        found: what the first of them had.
        texts: columns of a CSV that are left as they are written.
    """
    every = dict(found)
    for split, place in places.items():
        if split != "train":
            every |= read_place(place, split, _of_bytes, texts)
    cells = {split: every[split] for split in SPLITS if split in every}
    return cells, {split: places.get(split, places["train"]) for split in cells}


def _check(train: Cells, asked: Asked, place: Place) -> None:
    named = [("--target", asked.target), ("--group", asked.group), *(("--drop", name) for name in asked.drop)]
    for option, name in named:
        if name is not None and name not in train:
            raise DataError(f"{option} {name}: {place} has no such column. {near_miss(name, train)}")


def _fields(train: Cells, asked: Asked) -> tuple[dict[str, FieldSpec], dict[str, str]]:
    """The field of every column, as a run infers it or as it is given, and of those that are of no use the reason."""
    fields, unusable = {}, {}
    for name, cells in train.items():
        files = (cell for cell in cells if isinstance(cell, (Glimpse, Heard)))
        seen = min(files, key=lambda file: file.problem, default=None)
        held: Modality = "audio" if isinstance(seen, Heard) else "image"
        try:
            if name == asked.group:
                fields[name] = FieldSpec(name, "categorical", "group", "as --group says")
            elif name in asked.columns and (seen is None or asked.columns[name] == held):
                given = as_given(name, cast(Modality, asked.columns[name]), cells)
                fields[name] = replace(given, reason=f"as --columns says{in_style(given.style)}")
            elif name in asked.columns:
                unusable[name] = f"bytes, which cannot be read as {asked.columns[name]}"
            elif seen is None:
                fields[name] = infer(name, cells, "target" if name == asked.target else "input")
            elif seen.problem:
                unusable[name] = f"bytes of no image and no clip: {seen.problem}"
            else:
                what = "an image" if held == "image" else "a clip"
                fields[name] = FieldSpec(name, held, "input", f"every value is the bytes of {what}")
        except DataError as error:
            unusable[name] = str(error)
    return fields, unusable


def _looked_at(
    cells: Mapping[str, Cells], fields: Mapping[str, FieldSpec], folders: Mapping[str, Path], memo: Path
) -> dict[str, Cells]:
    """The tables by split, with a Glimpse for every image and a Heard for every clip.

    A column that a file lacks is missing in all of its rows.
    """
    out: dict[str, Cells] = {}
    for split, each in cells.items():
        rows = len(next(iter(each.values())))
        out[split] = {}
        for name, about in fields.items():
            column = each.get(name, [None] * rows)
            if about.modality in FILES and about.role == "input":
                column = [None if is_missing(c) else c if isinstance(c, (Glimpse, Heard)) else str(c) for c in column]
                look = _seen if about.modality == "image" else _heard
                known = look({c for c in column if c is not None}, folders[split], memo)
                column = [known.get(cell) for cell in column]
            out[split][name] = column
    return out


def _of_bytes(data: bytes) -> Glimpse | Heard:
    """What was seen of an image or heard of a clip."""
    return Heard.of(data) if begins_as_audio(data[:12]) else Glimpse.of(data)


def _seen(cells: set[Any], folder: Path, memo: Path) -> Mapping[Any, Glimpse]:
    clips = {cell: Glimpse(b"", problem="it is a clip, no image") for cell in cells if isinstance(cell, Heard)}
    return clips | glimpses(sorted(cells - clips.keys(), key=str), folder, memo)


def _heard(cells: set[Any], folder: Path, memo: Path) -> Mapping[Any, Heard]:
    images = {cell: Heard(b"", problem="it is no clip") for cell in cells if isinstance(cell, Glimpse)}
    return images | heard(sorted(cells - images.keys(), key=str), folder, memo)


def _target_facts(name: str, cells: list[Any]) -> TargetFacts:
    task, reason = suited_task(cells)
    known = [cell for cell in cells if not is_missing(cell)]
    lists = label_lists(cells)
    counts: Counter[str] = Counter()
    quartiles: tuple[float, ...] = ()
    if task == "regression":
        quartiles = tuple(np.quantile([cell for cell in known if np.isfinite(cell)], (0, 0.25, 0.5, 0.75, 1)).tolist())
    elif lists is not None:
        task, reason = (
            "multilabel",
            reason if task == "multilabel" else f"texts that list labels: task.separator={separator_of(cells)!r}",
        )
        counts.update(label for labels in lists for label in set(labels or ()))
    else:
        counts.update(map(category, known))
    ordered = tuple(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
    return TargetFacts(name, task, reason, len(cells) - len(known), ordered, quartiles)
