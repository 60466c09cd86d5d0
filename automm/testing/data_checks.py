"""What every data source must keep. Needs no torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from automm.data.source import Source
from automm.registry import REQUIRED
from automm.testing.requirement import require
from automm.testing.subject import Subject
from automm.types import Splits, Table

_INPUTS = ("image", "text", "numeric", "categorical", "audio")


def check_nothing_is_required(under_test: Subject) -> None:
    """Every option has a default: what is missing is told in a sentence when data is loaded, not by a TypeError."""
    for option in under_test.component.options.values():
        require(option.default is not REQUIRED, f"the option {option.name!r} has no default")


def check_tables(under_test: Subject) -> None:
    """The tables of all splits agree: one schema, columns and groups of one length, indices that hit a value."""
    with tempfile.TemporaryDirectory() as folder:
        splits = _load(under_test, folder)
    require(len(splits.train) > 0 and len(splits.valid) > 0, "train or valid is empty")
    for name, table in _tables(splits):
        require(table.schema == splits.train.schema, f"{name} has another schema than train")
        inputs = table.schema.inputs
        require(bool(inputs), "there is no input field")
        for spec in inputs:
            require(spec.modality in _INPUTS, f"{spec.name!r} has the modality {spec.modality!r}")
            require(spec.name in table.columns, f"{name} has no column for the input field {spec.name!r}")
        for field, column in table.columns.items():
            index = column.index
            require(index.dtype == np.int64, f"{name}.{field}: the index is {index.dtype}, not int64")
            require(len(column) == len(table), f"{name}.{field} has {len(column)} rows, not {len(table)}")
            legal = bool((index >= -1).all() and (index < len(column.values)).all())
            require(legal, f"{name}.{field}: an index is neither -1 nor that of a value")
        require(len(table.ids) == len(table), f"{name} has {len(table.ids)} ids for {len(table)} rows")
        for group, values in table.groups.items():
            require(len(values) == len(table), f"{name}: the group {group!r} has {len(values)} rows")


def check_is_seeded(under_test: Subject) -> None:
    """One seed gives the same rows twice, from an empty cache and from a full one."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first, cached, fresh = (_load(under_test, folder) for folder in (one, one, two))
        for again, how in ((cached, "from the cache"), (fresh, "into an empty cache")):
            for (name, left), (_, right) in zip(_tables(first), _tables(again), strict=True):
                require(list(left.ids) == list(right.ids), f"{name} has other rows when loaded again {how}")
                require(list(left.targets) == list(right.targets), f"{name} has other targets {how}")
                for at in (0, len(left) - 1):
                    for field, value in left.row(at).items():
                        same = np.array_equal(np.asarray(value), np.asarray(right.row(at)[field]))
                        require(same, f"{name}.{field} of row {at} changes when loaded again {how}")


def check_splits_do_not_leak(under_test: Subject) -> None:
    """No image is in two splits: several rows may share one, and they are split together."""
    with tempfile.TemporaryDirectory() as folder:
        splits = _load(under_test, folder)
        seen: dict[bytes, str] = {}
        for name, table in _tables(splits):
            for spec in (s for s in table.schema.inputs if s.modality == "image"):
                column = table.columns[spec.name]
                for at in np.unique(column.index[column.index >= 0]):
                    other = seen.setdefault(_content(column.values[at]), name)
                    require(other == name, f"an image of {name}.{spec.name} is in {other} too")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_nothing_is_required,
    check_tables,
    check_is_seeded,
    check_splits_do_not_leak,
)


def _load(under_test: Subject, folder: str) -> Splits:
    source = under_test.build()
    require(isinstance(source, Source), "it is no automm Source")
    splits: Splits = source.load(0, Path(folder))
    return splits


def _tables(splits: Splits) -> Iterator[tuple[str, Table]]:
    for name in ("train", "valid", "test"):
        table = getattr(splits, name)
        if table is not None:
            yield name, table


def _content(value: Any) -> bytes:
    """An image's file or pixels; one that is not there is told by its name."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, bytes):
        return value
    path = Path(str(value))
    return path.read_bytes() if path.is_file() else str(value).encode()
