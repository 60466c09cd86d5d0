"""Image files of a data set: found by number, and proved readable before anything trains."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from PIL import Image

from automm.errors import ConfigError, DataError, near_miss
from automm.runtime.images import MAX_PIXELS, decode, image_size

Check = Literal["decode", "header"]
_NUMBERED = re.compile(r"(?:COCO_\w+?_)?0*(\d+)\.(?:jpe?g|png)", re.IGNORECASE)
_WORKERS = min(4, os.cpu_count() or 1)


class NumberedImages:
    """Where the image of a number lies: by `template`, or by COCO's names as the folder uses them."""

    def __init__(self, folder: Path, template: str | None) -> None:
        self.folder = folder
        self.template = template
        self._paths: dict[int, Path | None] = {}
        if template is None:
            self._index()

    def path(self, image_id: int) -> Path | None:
        """The file of this number; None when there is none."""
        if image_id not in self._paths and self.template is not None:
            path = self.folder / self.template.format(image_id=image_id)
            self._paths[image_id] = path if path.is_file() else None
        return self._paths.get(image_id)

    def _index(self) -> None:
        for name in sorted(entry.name for entry in os.scandir(self.folder)):
            match = _NUMBERED.fullmatch(name)
            if match is None:
                continue
            other = self._paths.setdefault(int(match[1]), self.folder / name)
            if other is not None and other.name != name:
                raise DataError(
                    f"{self.folder} holds two files for image {int(match[1])}, {other.name} and {name}. "
                    "Next: say which with data.template, such as data.template='COCO_val2014_{image_id:012d}.jpg'."
                )
        if not self._paths:
            raise DataError(
                f"{self.folder} holds no file named like COCO_val2014_000000000042.jpg or 000000000042.jpg. "
                "Next: check the folder, or give data.template, such as '{image_id}.jpg'."
            )


def check_template(template: str | None, key: str) -> str | None:
    """The template where it is one.

    Raises:
        ConfigError: it does not tell one image from another.
    """
    try:
        if template is None or template.format(image_id=1) != template.format(image_id=2):
            return template
    except (KeyError, IndexError, ValueError, AttributeError):
        pass  # reported below: no template at all and one that ignores the number need the same advice
    raise ConfigError(
        f"{key}={template!r} does not name an image file. "
        "Next: use the field image_id, such as 'COCO_val2014_{image_id:012d}.jpg'."
    )


def check_mode(mode: str) -> Check:
    """`check_images` where it is one.

    Raises:
        ConfigError: it is neither `decode` nor `header`.
    """
    if mode == "decode":
        return "decode"
    if mode == "header":
        return "header"
    raise ConfigError(f"data.check_images={mode!r} is not a choice. {near_miss(mode, ('decode', 'header'))}")


def broken_images(paths: Sequence[Path], mode: Check) -> dict[Path, str]:
    """What is wrong with each file that cannot be read, in a phrase.

    `header` opens every file; `decode` reads it to the end as well, which alone finds one that was cut short.
    """
    with ThreadPoolExecutor(_WORKERS, "automm-check") as pool:
        found = pool.map(lambda path: _problem(path, mode), paths)
        return {path: problem for path, problem in zip(paths, found, strict=True) if problem}


def _problem(path: Path, mode: Check) -> str:
    try:
        if mode == "header":
            image_size(path)
        elif not _reads(path):
            decode(path)
    except DataError as error:
        return str(error).partition(" Next:")[0].rstrip(".")
    return ""


def _reads(path: Path) -> bool:
    """Whether the file reads to its end; a JPEG at an eighth of its size, which is several times faster."""
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                return False
            image.draft("RGB", (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError, EOFError):
        return False  # `decode` gives the verdict and its wording
    return True
