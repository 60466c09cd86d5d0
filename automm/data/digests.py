"""Names for contents: equal exactly when the raw values are, so that what was computed for one serves the other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from automm.data.file_memo import FileMemo, stamps_of
from automm.errors import DataError
from automm.types import FILES, Modality

SIZE = 16  # bytes
DIGESTS = "files.sqlite"  # digests of files that were read before
_WORKERS = min(4, os.cpu_count() or 1)


def value_digests(values: Sequence[Any], modality: Modality, folder: Path) -> np.ndarray:
    """The digest of every value, uint8 [values, SIZE]; of an image or a clip that is a path, of what the file holds.

    Files that were read before and whose size and time stamp are as they were are not read again.

    Args:
        values: raw and distinct.
        modality: of their field; a string is a path in an image or audio field and a text elsewhere.
        folder: where digests of files are kept.

    Raises:
        DataError: a file cannot be read.
    """
    paths = modality in FILES
    files = {os.fspath(value) for value in values if paths and isinstance(value, (str, Path))}
    known = _of_files(sorted(files), folder) if files else {}
    out = b"".join(
        known[os.fspath(value)] if paths and isinstance(value, (str, Path)) else _digest(_parts(value))
        for value in values
    )
    return np.frombuffer(out, np.uint8).reshape(len(values), SIZE)


def _parts(value: Any) -> Iterator[bytes]:
    """A value as bytes, its kind first, so that the text "1" and the number 1 differ."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        yield from (b"bytes", bytes(value))
    elif isinstance(value, np.ndarray):
        yield from (f"array {value.dtype} {value.shape}".encode(), np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (tuple, Mapping)):  # samples and their rate
        parts = value if isinstance(value, tuple) else [part for item in sorted(value.items()) for part in item]
        yield f"{type(value).__name__} {len(value)}".encode()
        for part in parts:
            yield from _parts(part)
    else:
        yield from (type(value).__name__.encode(), str(value).encode())


def _of_files(paths: Sequence[str], folder: Path) -> dict[str, bytes]:
    stamps, memo = stamps_of(paths), FileMemo(folder / DIGESTS)
    known = memo.known(stamps)
    unknown = [path for path in paths if path not in known]
    with ThreadPoolExecutor(_WORKERS, "automm-digest") as pool:
        found = dict(zip(unknown, pool.map(_of_file, unknown), strict=True))
    memo.remember(stamps, found)
    return known | found


def _of_file(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123  (called for every image of a data set)
            return _digest((b"bytes", stream.read()))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Next: check the file.") from error


def _digest(parts: Iterable[bytes]) -> bytes:
    found = hashlib.blake2b(digest_size=SIZE)
    for part in parts:
        found.update(len(part).to_bytes(8, "little"))
        found.update(part)
    return found.digest()
