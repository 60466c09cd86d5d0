"""Names for contents: equal exactly when the raw values are, so that what was computed for one serves the other."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from automm.errors import DataError
from automm.types import FILES, Modality

SIZE = 16  # bytes
_SETTLED = 2.0  # seconds: a file younger than that could change again and keep its time stamp
_WORKERS = min(4, os.cpu_count() or 1)
_Stamp = tuple[int, int]  # size, time of the last change in ns


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
    stamps: dict[str, _Stamp] = {}
    for path in paths:
        try:
            stat = Path(path).stat()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}. Next: check the path.") from error
        stamps[path] = stat.st_size, stat.st_mtime_ns
    memo = _Memo(folder / "files.sqlite")
    known = {path: digest for path, stamp, digest in memo.read(paths) if stamps[path] == stamp}
    unknown = [path for path in paths if path not in known]
    with ThreadPoolExecutor(_WORKERS, "automm-digest") as pool:
        known |= dict(zip(unknown, pool.map(_of_file, unknown), strict=True))
    settled = time.time_ns() - int(_SETTLED * 1e9)
    memo.write((path, stamps[path], known[path]) for path in unknown if stamps[path][1] < settled)
    return known


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


class _Memo:
    """Digests of files by path, size and time stamp. A hint: where it cannot be read or written, files are read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, paths: Sequence[str]) -> list[tuple[str, _Stamp, bytes]]:
        """What is known of these."""
        if not self.path.exists():
            return []
        found: list[tuple[str, _Stamp, bytes]] = []
        with contextlib.suppress(sqlite3.Error), closing(self._open()) as memo:
            for path in paths:
                for size, changed, digest in memo.execute("SELECT size, mtime, digest FROM files WHERE path=?", [path]):
                    found.append((path, (size, changed), digest))
        return found

    def write(self, rows: Iterable[tuple[str, _Stamp, bytes]]) -> None:
        """Remember these."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as memo, memo:
                memo.execute(
                    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INT, mtime INT, digest BLOB)"
                )
                memo.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", ((p, *s, d) for p, s, d in rows))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30)
