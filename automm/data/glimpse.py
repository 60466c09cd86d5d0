"""Images looked at one by one: what is kept of each is a digest, a size and a thumbnail, so that any number fits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from automm.data.digests import value_digests
from automm.data.file_memo import FileMemo, stamps_of
from automm.data.image_files import broken_images, forbidden, raw_file
from automm.data.looks import look
from automm.errors import DataError
from automm.runtime.images import image_size

LOOKS = "looks_1.sqlite"  # thumbnails of files that were read before; another number for another kind of thumbnail
_WORKERS = min(4, os.cpu_count() or 1)


class Glimpse(NamedTuple):
    """What was seen of an image."""

    digest: bytes  # equal for equal files
    height: int = 0
    width: int = 0
    problem: str = ""  # why it cannot be read, in a phrase
    look: bytes = b""  # its thumbnail; empty where it is of one colour

    @classmethod
    def of(cls, data: bytes) -> Glimpse:
        """Of a file's bytes."""
        digest = value_digests([data], "image", Path())[0].tobytes()
        problem = broken_images([data], "header").get(data, "")
        return cls(digest, 0, 0, problem) if problem else cls.read(data, digest)

    @classmethod
    def read(cls, value: str | bytes, digest: bytes, known: bytes | None = None) -> Glimpse:
        """Of a picture that can be opened; `known` is its thumbnail where it need not be read to its end again."""
        try:
            return cls(digest, *image_size(value), look=look(value) if known is None else known)
        except DataError as error:
            return cls(digest, problem=str(error).partition(" Next:")[0].rstrip("."))


def glimpses(cells: Sequence[Any], folder: Path, memo: Path) -> dict[Any, Glimpse]:
    """By cell of an image column: a path below `folder`, base64, or what was seen already.

    Args:
        cells: distinct, none missing.
        folder: of the table; files elsewhere are not opened.
        memo: where digests and thumbnails of files are kept.
    """
    found: dict[Any, Glimpse] = {cell: cell for cell in cells if isinstance(cell, Glimpse)}
    paths: dict[Any, str] = {}
    for cell in cells:
        if cell not in found:
            raw = raw_file(cell, folder, "image")
            if isinstance(raw, bytes):
                found[cell] = Glimpse.of(raw)
            else:
                paths[cell] = raw
    problems = {path: why for path in paths.values() if (why := forbidden(path, folder, outside=False))}
    problems |= broken_images(sorted(set(paths.values()) - problems.keys()), "header")
    whole = sorted(set(paths.values()) - problems.keys())
    digests = dict(zip(whole, value_digests(whole, "image", memo), strict=True))
    seen = _read({path: digests[path].tobytes() for path in whole}, memo)
    for cell, path in paths.items():
        found[cell] = Glimpse(b"", problem=problems[path]) if path in problems else seen[path]
    return found


def _read(digests: Mapping[str, bytes], memo: Path) -> dict[str, Glimpse]:
    """By path of a file whose digest is given; what was read before is not read again."""
    stamps, looks = stamps_of(digests), FileMemo(memo / LOOKS)
    known = looks.known(stamps)
    with ThreadPoolExecutor(_WORKERS, "automm-glimpse") as pool:
        read = pool.map(lambda path: Glimpse.read(path, digests[path], known.get(path)), digests)
        seen = dict(zip(digests, read, strict=True))
    looks.remember(stamps, {path: g.look for path, g in seen.items() if not g.problem and path not in known})
    return seen
