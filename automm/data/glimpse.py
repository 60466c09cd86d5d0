"""Images looked at one by one: what is kept of each is its digest and its size, so that any number of them fits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from automm.data.digests import value_digests
from automm.data.image_files import broken_images, forbidden, raw_file
from automm.runtime.images import image_size

_WORKERS = min(4, os.cpu_count() or 1)


class Glimpse(NamedTuple):
    """What was seen of an image."""

    digest: bytes  # equal for equal files
    height: int = 0
    width: int = 0
    problem: str = ""  # why it cannot be read, in a phrase

    @classmethod
    def of(cls, data: bytes) -> Glimpse:
        """Of a file's bytes."""
        digest = value_digests([data], "image", Path())[0].tobytes()
        problem = broken_images([data], "header").get(data, "")
        return cls(digest, 0, 0, problem) if problem else cls(digest, *image_size(data))


def glimpses(cells: Sequence[Any], folder: Path, memo: Path) -> dict[Any, Glimpse]:
    """By cell of an image column: a path below `folder`, base64, or what was seen already.

    Args:
        cells: distinct, none missing.
        folder: of the table; files elsewhere are not opened.
        memo: where digests of files are kept.
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
    with ThreadPoolExecutor(_WORKERS, "automm-glimpse") as pool:
        sizes = dict(zip(whole, pool.map(image_size, whole), strict=True))
    for cell, path in paths.items():
        found[cell] = (
            Glimpse(b"", 0, 0, problems[path]) if path in problems else Glimpse(digests[path].tobytes(), *sizes[path])
        )
    return found
