"""Clips listened to one by one: what is kept of each is a digest of all its samples and its length."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from automm.data.file_memo import FileMemo, stamps_of
from automm.data.image_files import forbidden, raw_file
from automm.errors import DataError, MissingExtra
from automm.runtime.audio import blocks

CLIPS = "clips_2.sqlite"  # digests of clips that were heard before; another number for another kind of digest
_SIZE = 16  # bytes
_WORKERS = min(4, os.cpu_count() or 1)


class Heard(NamedTuple):
    """What was heard of a clip."""

    digest: bytes  # equal for equal samples at one rate, in whatever lossless format
    seconds: float = 0.0
    problem: str = ""  # why it cannot be read, in a phrase

    @classmethod
    def of(cls, clip: str | bytes) -> Heard:
        """Of a file; where its samples cannot be read, for want of a package too, it has a problem."""
        digest, seconds = hashlib.blake2b(digest_size=_SIZE), 0.0
        try:
            for samples_T, rate in blocks(clip):
                digest.update(b"" if seconds else f"{rate} ".encode())
                digest.update(samples_T.tobytes())
                seconds += len(samples_T) / rate
        except (DataError, MissingExtra) as error:
            return cls(b"", 0.0, str(error).partition(" Next:")[0].rstrip("."))
        return cls(digest.digest(), seconds)


def heard(cells: Sequence[Any], folder: Path, memo: Path) -> dict[Any, Heard]:
    """By cell of an audio column: a path below `folder`, base64, or what was heard already.

    Args:
        cells: distinct, none missing.
        folder: of the table; files elsewhere are not opened.
        memo: where digests of clips are kept.
    """
    found: dict[Any, Heard] = {cell: cell for cell in cells if isinstance(cell, Heard)}
    paths: dict[Any, str] = {}
    for cell in cells:
        clip = cell if cell in found else raw_file(cell, folder, "audio")
        if isinstance(clip, bytes):
            found[cell] = Heard.of(clip)
        elif isinstance(clip, str):
            paths[cell] = clip
    problems = {path: why for path in paths.values() if (why := forbidden(path, folder, outside=False))}
    found |= {cell: Heard(b"", problem=problems[path]) for cell, path in paths.items() if path in problems}
    allowed = sorted({path for cell, path in paths.items() if cell not in found})
    stamps, clips = stamps_of(allowed), FileMemo(memo / CLIPS)
    known = {path: Heard(held[8:], *struct.unpack("<d", held[:8])) for path, held in clips.known(stamps).items()}
    new = [path for path in allowed if path not in known]
    with ThreadPoolExecutor(_WORKERS, "automm-hear") as pool:
        read = dict(zip(new, pool.map(Heard.of, new), strict=True))
    clips.remember(stamps, {p: struct.pack("<d", h.seconds) + h.digest for p, h in read.items() if not h.problem})
    known |= read
    return found | {cell: known[path] for cell, path in paths.items() if cell not in found}
