"""Captioned images in COCO's format (Chen et al. 2015, arXiv:1504.00325), https://cocodataset.org/#format-data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from automm.data.apart import check_apart
from automm.data.captions import Captions, broken_among, inside
from automm.data.image_files import check_mode
from automm.data.json_records import lack, need_path, read_json, records
from automm.data.problems import Problems, check_on_error
from automm.data.source import Source
from automm.data.split import split_rows, take
from automm.errors import OutOfRange, UnknownKey, near_miss
from automm.types import Skipped, Splits, Table

_IMAGE: dict[str, type] = {"id": int, "file_name": str}
_ANNOTATION: dict[str, type] = {"id": int, "image_id": int, "caption": str}
_KEYS = ("captions", "images")


class COCOCaptions(Source):
    """Images and captions in COCO's format: a row is an image and one of its captions.

    An image that no caption is about is left out. Every file that is used is read before training starts; what cannot
    be used is an error, or skipped and counted with `on_error=skip`.

    Args:
        captions: JSON file, `{"images": [{id, file_name}], "annotations": [{id, image_id, caption}]}`.
        images: folder of the image files.
        valid: the same two keys for a validation set; null = a part of the training images.
        test: the same two keys for a test set; null = no test.
        valid_fraction: share of the training captions that validate where `valid` is null; split by image.
        on_error: `fail` or `skip`: what a record does that cannot be used.
        check_images: `decode` reads every image to its end, `header` opens it only.
    """

    def __init__(
        self,
        *,
        captions: str | None = None,
        images: str | None = None,
        valid: Mapping[str, str | None] | None = None,
        test: Mapping[str, str | None] | None = None,
        valid_fraction: float = 0.1,
        on_error: str = "fail",
        check_images: str = "decode",
    ) -> None:
        self.files: dict[str, dict[str, str | None]] = {"train": {"captions": captions, "images": images}}
        for split, given in (("valid", valid), ("test", test)):
            for key in dict(given or {}):
                if key not in _KEYS:
                    raise UnknownKey(f"data.{split} has no key {key!r}. {near_miss(key, _KEYS)}")
            named = {key: value for key, value in dict(given or {}).items() if value is not None}
            if named:
                self.files[split] = {"images": images, **named}
        if not 0 < valid_fraction < 1:
            raise OutOfRange(f"data.valid_fraction={valid_fraction} is not allowed: a number between 0 and 1")
        self.valid_fraction = valid_fraction
        self.on_error = check_on_error(on_error)
        self.check_images = check_mode(check_images)

    def load(self, seed: int, cache_dir: Path) -> Splits:
        """The tables; every path is checked before any file is read."""
        paths = {split: self._paths(split) for split in self.files}
        skipped: list[Skipped] = []
        tables = {split: self._table(*each, cache_dir, skipped) for split, each in paths.items()}
        if "valid" not in tables:
            whole = tables["train"]
            parts = split_rows(len(whole), fraction=self.valid_fraction, seed=seed, groups=whole.columns["image"].index)
            tables["train"], tables["valid"] = (take(whole, rows) for rows in parts)
        splits = Splits(tables["train"], tables["valid"], tables.get("test"), skipped)
        check_apart(splits, "image")
        return splits

    def _paths(self, split: str) -> tuple[Path, Path]:
        key, files = "data" if split == "train" else f"data.{split}", self.files[split]
        return (
            need_path(files.get("captions"), f"{key}.captions"),
            need_path(files.get("images"), f"{key}.images", folder=True),
        )

    def _table(self, path: Path, folder: Path, cache_dir: Path, skipped: list[Skipped]) -> Table:
        """One split's table; its rows are in the annotations' order."""
        content = read_json(path)
        annotations = records(content, "annotations", path)
        problems = Problems(str(path), self.on_error, skipped)
        images = _images(records(content, "images", path), folder, Problems(str(path), self.on_error, skipped))
        captions, seen = Captions(), set[int]()
        for number, record in enumerate(annotations):
            problem = lack(record, _ANNOTATION) or _complaint(record, images, seen)
            if problem is not None:
                problems.add(f"{path}, annotation {_name(record, number)}: {problem}.")
                continue
            seen.add(record["id"])
            captions.add(images[record["image_id"]][0], record["caption"].strip(), record["id"])
        table = captions.table(broken_among([captions], self.check_images, cache_dir), problems)
        problems.close(len(annotations))
        return table


def _images(found: list[Any], folder: Path, problems: Problems) -> dict[int, tuple[Path, str | None]]:
    """By number: where an image is, and what is wrong with it; that matters to the captions about it alone."""
    out: dict[int, tuple[Path, str | None]] = {}
    for number, record in enumerate(found):
        problem = lack(record, _IMAGE)
        if problem is None and record["id"] in out:
            problem = "its id was used before"
        if problem is None:
            out[record["id"]] = inside(folder, record["file_name"])
        else:
            problems.add(f"{problems.where}, image {_name(record, number)}: {problem}.")
    problems.close(len(found))
    return out


def _complaint(record: dict[str, Any], images: Mapping[int, tuple[Path, str | None]], seen: set[int]) -> str | None:
    """What is wrong with an annotation that has all its keys."""
    if record["id"] in seen:
        return "its id was used before"
    if not record["caption"].strip():
        return "its 'caption' is empty"
    if record["image_id"] not in images:
        return f"image {record['image_id']} is not among the file's images"
    return images[record["image_id"]][1]


def _name(record: Any, number: int) -> str:
    known = record.get("id") if isinstance(record, dict) else None
    return f"record {number}" if known is None else f"record {number} (id {known})"
