"""What was found out about files, remembered while their size and time stamp are as they were."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

FOLDER = "features"  # below the cache directory, where features lie too
CHECKS = "checked.sqlite"  # files that proved readable

Stamp = tuple[int, int]  # size, time of the last change in ns

_SETTLED = 2.0  # seconds: a file younger than that could change again and keep its time stamp


class FileMemo:
    """A few bytes a file. A hint: where it cannot be read or written, nothing is known.

    Args:
        path: an SQLite database, made when something is remembered.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def known(self, stamps: Mapping[str, Stamp]) -> dict[str, bytes]:
        """What is remembered of these files, by path; of those that have changed since, nothing."""
        if not self.path.exists():
            return {}
        found: dict[str, bytes] = {}
        with contextlib.suppress(sqlite3.Error), closing(self._open()) as memo:
            for path, stamp in stamps.items():
                for size, changed, digest in memo.execute("SELECT size, mtime, digest FROM files WHERE path=?", [path]):
                    if (size, changed) == stamp:
                        found[path] = digest
        return found

    def remember(self, stamps: Mapping[str, Stamp], values: Mapping[str, bytes]) -> None:
        """Remember a value of each of these files, by path, whose stamps were taken before they were read."""
        settled = time.time_ns() - int(_SETTLED * 1e9)
        rows = [(p, *stamps[p], value) for p, value in values.items() if p in stamps and stamps[p][1] < settled]
        if not rows:
            return
        with contextlib.suppress(sqlite3.Error, OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as memo, memo:
                memo.execute(
                    "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, size INT, mtime INT, digest BLOB)"
                )
                memo.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30)


def memos(folder: Path) -> list[Path]:
    """The files of all memos in a folder: those of earlier kinds too, and what SQLite may have left beside them."""
    return sorted(folder.glob("*.sqlite*"))


def stamps_of(paths: Iterable[str]) -> dict[str, Stamp]:
    """Size and time of the last change by path, of those that can be asked."""
    found: dict[str, Stamp] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            about = os.stat(path)  # noqa: PTH116  (called for every image of a data set)
            found[path] = about.st_size, about.st_mtime_ns
    return found
