"""Where a table lies: a file, a folder in a format of Hugging Face's `datasets`, or a data set of its hub."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automm.data.json_records import need_path
from automm.data.table_files import SUFFIXES, Cells, OfBytes, made_of, plain_values, read_cells
from automm.errors import DataError, MissingExtra
from automm.offline import offline

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")
_SPLITS = {"train": ("train",), "valid": ("validation", "valid", "val", "dev"), "test": ("test",)}
_ROWS = 512  # of a data set that are held as Arrow at a time


@dataclass(frozen=True)
class Place:
    """A table's whereabouts."""

    name: str  # as messages call it
    folder: Path  # where paths in its cells start
    path: Path | None  # None: on the hub

    def __str__(self) -> str:
        return self.name


def need_table(given: Any, key: str) -> Place:
    """The place an option gives. Of a folder or a hub's data set only the name is looked at.

    Raises:
        DataError: it is not given, or nothing that may hold a table is there.
    """
    path = Path(str(given)).expanduser().absolute() if given else None
    if path is not None and path.is_dir():
        return Place(str(path), path, path)
    if path is not None and not path.exists() and is_hub_id(str(given)):
        return Place(str(given), Path.cwd(), None)
    file = need_path(given, key)
    return Place(str(file), file.parent, file)


def is_hub_id(given: str) -> bool:
    """Whether this may name a data set of the hub: `owner/name`, or `owner/name:configuration`."""
    return _HUB_ID.fullmatch(given) is not None and Path(given).suffix.lower() not in SUFFIXES


def read_place(place: Place, split: str, of_bytes: OfBytes = bytes, texts: Collection[str] = ()) -> dict[str, Cells]:
    """The table of a split and, where the training table has others beside it, theirs.

    A data set's own splits are told by their names: `train`; `validation`, `valid`, `val` or `dev`; `test`. One that
    has no splits, or a single one, is the table that is asked for.

    Args:
        place: what `need_table` found.
        split: `train`, `valid` or `test`.
        of_bytes: what bytes in a cell become.
        texts: columns of a CSV that are left as they are written.

    Raises:
        DataError: it cannot be read, or has no split that serves.
        MissingExtra: it needs the package `datasets`, which is not installed.
    """
    if place.path is not None and place.path.is_file():
        return {split: read_cells(place.path, of_bytes, texts)}
    found = _load(place)
    if len(found) == 1:
        return {split: _cells(next(iter(found.values())), place, of_bytes)}
    named = {ours: next((name for name in names if name in found), None) for ours, names in _SPLITS.items()}
    if named[split] is None:
        raise DataError(
            f"{place} has the splits {', '.join(found)}, and none of them is {' or '.join(_SPLITS[split])}. "
            "Next: save the one you mean as a data set of its own."
        )
    wanted = _SPLITS if split == "train" else [split]
    return {ours: _cells(found[name], place, of_bytes) for ours in wanted if (name := named[ours]) is not None}


def _load(place: Place) -> Mapping[str, Any]:
    """The data set's tables by the name of their split; by "" where it has none."""
    try:
        import datasets
    except ImportError as error:
        what = "a folder" if place.path is not None else "no file or folder here, and might be a data set of the hub"
        raise MissingExtra(
            f"{place} is {what}; such are read by the package datasets, which is not installed. Next: check the path, "
            'or pip install "automm[datasets]".'
        ) from error
    datasets.disable_progress_bars()
    try:
        if place.path is None:
            name, _, configuration = place.name.partition(":")
            found = datasets.load_dataset(name, configuration or None)
        elif any((place.path / mark).is_file() for mark in ("dataset_dict.json", "state.json")):
            found = datasets.load_from_disk(str(place.path))
        else:
            found = datasets.load_dataset(str(place.path))
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(_unreadable(place, error)) from error
    return found if isinstance(found, datasets.DatasetDict) else {"": found}


def _unreadable(place: Place, error: Exception) -> str:
    said = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
    if place.path is not None:
        return (
            f"{place} is a folder, and datasets finds no data set in it: {said}. Next: name a table, or a folder that "
            "Dataset.save_to_disk wrote."
        )
    forbids = offline()
    hint = f"{forbids} is set, and it is not among what was downloaded before" if forbids else said
    return (
        f"{place} is no file or folder here, and as a data set of the hub it cannot be read: {hint}. "
        "Next: check the path or the name, or save it to a folder where there is a network."
    )


def _cells(table: Any, place: Place, of_bytes: OfBytes) -> Cells:
    """Every column of one table; files as bytes where it holds them, else as paths, and classes by name."""
    import datasets

    for name, feature in table.features.items():
        if isinstance(feature, (datasets.Image, datasets.Audio)):
            table = table.cast_column(name, type(feature)(decode=False))
    cells: Cells = {name: [] for name in table.column_names}
    for batch in table.with_format("arrow").iter(batch_size=_ROWS):
        for name, feature in table.features.items():
            found = plain_values(batch[name])
            if isinstance(feature, (datasets.Image, datasets.Audio)):
                found = [_held(cell, place) for cell in found]
            elif isinstance(feature, datasets.ClassLabel):
                found = [None if cell is None or cell < 0 else feature.names[cell] for cell in found]  # -1: hidden
            cells[name] += made_of(found, of_bytes)
    if not cells or not len(table):
        raise DataError(f"{place} has no rows. Next: check that it is the right data set.")
    return cells


def _held(file: str | bytes | None, place: Place) -> str | bytes | None:
    """An image or a clip: its bytes, or where its file lies; those of the hub lie in a cache of its own."""
    if not isinstance(file, str) or place.path is not None:
        return file
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise DataError(f"{place}: {file} cannot be read: {error.strerror}. Next: download it again.") from error
