"""Images of a data set: found by number or by cell, and proved readable before anything trains."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import PIL
from PIL import Image

from automm.data.file_memo import CHECKS, FOLDER, FileMemo, stamps_of
from automm.errors import ConfigError, DataError, near_miss
from automm.runtime.embedded import Held, embedded
from automm.runtime.images import MAX_PIXELS, decode, image_size, name_of
from automm.runtime.urls import may_download, scheme

Check = Literal["decode", "header"]
Raw = TypeVar("Raw", str, bytes, Path, str | bytes)
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


def raw_file(cell: Any, folder: Path, held: Held) -> str | bytes:
    """A table's cell as a raw image or clip: bytes (of base64, too), a URL, or a path, relative to `folder`."""
    if isinstance(cell, bytes):
        return cell
    text = str(cell)
    data = embedded(text, held)
    if data is not None:
        return data
    return text.strip() if scheme(text) else str(folder / text)


def forbidden(file: str | bytes, folder: Path, *, outside: bool) -> str:
    """Why a raw image or clip of a table in `folder` is not even opened, in a phrase; empty when it may be."""
    if isinstance(file, bytes):
        return ""
    if may_download(file):
        return f"{file} is a URL, and nothing is downloaded unless data.urls=true says so"
    if scheme(file):
        return f"{file} is a URL that is never opened: http and https alone are, with data.urls=true"
    if outside or Path(os.path.normpath(file)).is_relative_to(os.path.normpath(folder)):
        return ""
    return f"{file} leaves the folder of the table, which data.outside=true would allow"


def broken_images(images: Sequence[Raw], mode: Check, cache_dir: Path | None = None) -> dict[Raw, str]:
    """What is wrong with each raw image that cannot be read, in a phrase.

    `header` opens every image; `decode` reads it to the end as well, which alone finds one that was cut short. With a
    `cache_dir`, files that passed before and whose size and time stamp are as they were are not read again.
    """
    return broken_files(images, IMAGE_CHECKS[mode], f"image {mode}, Pillow {PIL.__version__}", cache_dir)


def broken_files(
    values: Sequence[Raw], examine: Callable[[Raw], object], check: str, cache_dir: Path | None
) -> dict[Raw, str]:
    """What is wrong with each value for which `examine` raises DataError, in a phrase; some are examined at once.

    Args:
        values: distinct; a string is a path.
        examine: raises DataError for what is of no use.
        check: what `examine` examines, by name and version.
        cache_dir: where it is remembered which files passed; None = nowhere.
    """
    memo = None if cache_dir is None else FileMemo(cache_dir / FOLDER / CHECKS)
    paths: dict[Any, str] = {value: str(value) for value in values if isinstance(value, (str, Path))}
    stamps = {} if memo is None else stamps_of(paths.values())
    passed = {} if memo is None else memo.known(stamps)
    todo = [value for value in values if passed.get(paths.get(value, "")) != check.encode()]
    with ThreadPoolExecutor(_WORKERS, "automm-check") as pool:
        found = dict(zip(todo, pool.map(partial(problem_of, examine), todo), strict=True))
    if memo is not None:
        good = [paths[value] for value, problem in found.items() if not problem and value in paths]
        memo.remember(stamps, dict.fromkeys(good, check.encode()))
    return {value: problem for value, problem in found.items() if problem}


def problem_of(examine: Callable[[Raw], object], value: Raw) -> str:
    """What is wrong with a value for which `examine` raises DataError, in a phrase; empty where it raises none."""
    try:
        examine(value)
    except DataError as error:
        return str(error).partition(" Next:")[0].rstrip(".")
    return ""


def check_image(image: str | bytes | Path, *, whole: bool) -> None:
    """Raise DataError unless the image can be opened, and read to its end where `whole` asks for that."""
    height, width = image_size(image)
    if height * width > MAX_PIXELS:
        raise DataError(f"{name_of(image)} has {width} x {height} pixels, more than the limit of {MAX_PIXELS:,}")
    if whole and not _reads(image):
        decode(image)


def _reads(image: str | bytes | Path) -> bool:
    """Whether the image reads to its end; a JPEG at an eighth of its size, which is several times faster."""
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            opened.draft("RGB", (1, 1))
            opened.load()
    except (OSError, SyntaxError, ValueError, EOFError):
        return False  # `decode` gives the verdict and its wording
    return True


IMAGE_CHECKS: dict[Check, Callable[[Any], object]] = {
    "header": partial(check_image, whole=False),
    "decode": partial(check_image, whole=True),
}
