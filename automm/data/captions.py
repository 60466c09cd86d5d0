"""Images and their captions as a table: a row is a pair, whatever format it was read from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from automm.data.image_files import Check, broken_images
from automm.data.problems import Problems
from automm.runtime.distinct import distinct
from automm.types import PAIR, Column, FieldSpec, Schema, Table

SCHEMA = Schema((FieldSpec("image", "image"), FieldSpec("caption", "text")))


@dataclass
class Captions:
    """The pairs of one split, in the order they were found."""

    images: list[Path] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)

    def add(self, image: Path, caption: str, name: Any) -> None:
        """One pair and what its row is called."""
        self.images.append(image)
        self.captions.append(caption)
        self.ids.append(name)

    def table(self, broken: Mapping[Path, str], problems: Problems) -> Table:
        """Without the pairs whose image is `broken`, each of which is a problem."""
        kept = [at for at, image in enumerate(self.images) if image not in broken]
        for image, name in zip(self.images, self.ids, strict=True):
            if image in broken:
                problems.add(f"{problems.where}, caption {name}: {broken[image]}.")
        cells = {"image": [str(self.images[at]) for at in kept], "caption": [self.captions[at] for at in kept]}
        columns = {name: Column(*distinct(column)[:2]) for name, column in cells.items()}
        return Table(SCHEMA, columns, [PAIR] * len(kept), [self.ids[at] for at in kept])


def broken_among(splits: Iterable[Captions], mode: Check, cache_dir: Path) -> dict[Path, str]:
    """What is wrong with each image that cannot be read, over all splits of a file."""
    return broken_images(sorted({image for split in splits for image in split.images}), mode, cache_dir)


def inside(folder: Path, name: str) -> tuple[Path, str | None]:
    """A file that a record names, and what is wrong with the name: one that leaves the folder is not looked for."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts:
        return folder / path.name, f"its image {name!r} is not inside {folder}"
    found = folder / path
    return found, None if found.is_file() else f"its image {name} is not in {folder}"
