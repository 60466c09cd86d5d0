"""The feature cache: what frozen encoders return for raw values, on disk, shared by trials, runs and processes.

    <folder>/<shelf>/shelf.json            what function of raw values this is, and the FeatureSpec it promises
                    /<segment>/keys.npy    uint8 [n, 16], digests of the raw values
                              /pooled.npy  [n, D], and where tokens are kept: tokens.npy [n, N, D], mask.npy [n, N]

A segment is written beside its place, renamed into it and never changed: readers see all of it or nothing, writers at
work on the same values at once leave a copy each, and a kill loses what was not yet renamed. What is read is mapped,
not copied. Shelves that have not been used for longest make room when the whole would outgrow its limit.

Shape legend: V values, N tokens, D width.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import mmap
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from automm.data.file_memo import memos
from automm.types import FeatureSpec

log = logging.getLogger(__name__)

FORMAT = 1
_RECORD, _KEYS = "shelf.json", "keys.npy"
_PARTIAL = ".partial-"
_WITH_TOKENS = "-tokens"
_MAPPED = 128 << 20  # bytes of mapped files that this process may hold
_AROUND = 64 << 10  # bytes that the system maps where one is read
_STALE = 3600.0  # seconds after which what a killed writer left may go

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ShelfInfo:
    """One function's outputs, as `automm cache info` lists them."""

    identity: str
    values: int
    bytes: int
    used: float  # seconds since the epoch


class FeatureCache:
    """All shelves below one folder.

    Args:
        folder: made when something is kept.
        limit: bytes that the whole may take.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._in_use: set[str] = set()

    def spec(self, identity: str, field: str) -> FeatureSpec | None:
        """What the function returns, as written down with its outputs; None when there are none."""
        for name in (_name(identity), _name(identity) + _WITH_TOKENS):
            record = _record(self.folder / name)
            if record is not None:
                return replace(_spec(record["spec"]), field=field)
        return None

    def shelf(self, identity: str, spec: FeatureSpec, *, tokens: bool) -> Shelf:
        """The outputs of one function; with or without its tokens they are different shelves."""
        name = _name(identity) + (_WITH_TOKENS if tokens else "")
        self._in_use.add(name)
        return Shelf(self.folder / name, identity, spec)

    def make_room(self, wanted: int) -> bool:
        """Whether `wanted` more bytes fit; shelves this process has not asked for are given up for it, oldest first.

        Where all of those would not be enough, none is.
        """
        for name in self._names():
            _sweep(self.folder / name)
        sizes = {name: _size(self.folder / name) for name in self._names()}
        over = sum(sizes.values()) + wanted - self.limit
        if over > sum(size for name, size in sizes.items() if name not in self._in_use):
            return False
        for name in sorted(sizes, key=lambda name: _used(self.folder / name)):
            if over <= 0:
                break
            if name not in self._in_use:
                log.info("the feature cache gives up %.1f MB of %s", sizes[name] / 1e6, name)
                _remove(self.folder / name)
                over -= sizes[name]
        return True

    def info(self) -> list[ShelfInfo]:
        """Every shelf, the last used first."""
        found = []
        for name in self._names():
            folder = self.folder / name
            identity = (_record(folder) or {}).get("identity", name)
            values = sum(len(keys) for keys, _ in _segments(folder))
            found.append(ShelfInfo(identity, values, _size(folder), _used(folder)))
        return sorted(found, key=lambda shelf: -shelf.used)

    def memo_bytes(self) -> int:
        """What is remembered of files takes so much besides."""
        return sum(memo.stat().st_size for memo in memos(self.folder))

    def clear(self) -> int:
        """Remove everything, also what is remembered of files; returns the bytes that were freed."""
        freed = sum(_size(self.folder / name) for name in self._names()) + self.memo_bytes()
        for name in self._names():
            _remove(self.folder / name)
        for memo in memos(self.folder):
            memo.unlink(missing_ok=True)
        return freed

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(self.folder) if entry.is_dir())


class Shelf:
    """The outputs of one function, by digest of the raw value."""

    def __init__(self, folder: Path, identity: str, spec: FeatureSpec) -> None:
        self.folder, self.identity, self.spec = folder, identity, spec
        self._parts: list[Arrays] = []
        self._touched = 0  # at most so many bytes were mapped since they were given back
        self._key = np.empty((0, 2), np.uint64)  # sorted by its first half
        self._at = np.empty((0, 2), np.int64)  # segment, row
        self.refresh()

    def refresh(self) -> None:
        """See what others have added since."""
        found = list(_segments(self.folder))
        self._parts = [arrays for _, arrays in found]
        keys = [keys.view(np.uint64) for keys, _ in found]
        at = [np.stack([np.full(len(k), s), np.arange(len(k))], axis=1) for s, k in enumerate(keys)]
        if found:
            key, where = np.concatenate(keys), np.concatenate(at)
            order = np.argsort(key[:, 0], kind="stable")
            self._key, self._at = key[order], where[order]
            with contextlib.suppress(OSError):
                os.utime(self.folder)

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Segment and row of every key, int64 [keys, 2]; -1 where there is none."""
        wanted = np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2)
        out = np.full((len(wanted), 2), -1, np.int64)
        if len(self._key):
            near = np.minimum(np.searchsorted(self._key[:, 0], wanted[:, 0]), len(self._key) - 1)
            same = (self._key[near] == wanted).all(axis=1)
            out[same] = self._at[near[same]]
        return out

    def add(self, keys: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the outputs of some values, as one segment; all of it is on disk before it can be seen."""
        try:
            self._add(keys, arrays)
        except FileNotFoundError:  # another process gave the shelf up meanwhile
            self._add(keys, arrays)

    def _add(self, keys: np.ndarray, arrays: Mapping[str, np.ndarray]) -> None:
        if _record(self.folder) is None:
            _write_record(self.folder, {"identity": self.identity, "spec": asdict(self.spec)})
        partial = self.folder / f"{_PARTIAL}{uuid.uuid4().hex}"
        partial.mkdir()
        try:
            for name, array in {Path(_KEYS).stem: keys, **arrays}.items():
                with (partial / f"{name}.npy").open("wb") as stream:
                    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
                    stream.flush()
                    os.fsync(stream.fileno())
            partial.rename(self.folder / uuid.uuid4().hex)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def read(self, at: np.ndarray) -> Arrays:
        """The outputs at these places, in order; tokens are padded to the longest of them."""
        out: Arrays = {}
        self._let_go()
        for name in self._parts[int(at[0, 0])]:
            parts = [self._parts[segment][name] for segment in np.unique(at[:, 0])]
            tail = parts[0].shape[1:] if name == "pooled" else (max(p.shape[1] for p in parts), *parts[0].shape[2:])
            out[name] = np.zeros((len(at), *tail), parts[0].dtype)
            for segment in np.unique(at[:, 0]):
                here, part = at[:, 0] == segment, self._parts[segment][name]
                into = out[name] if name == "pooled" else out[name][:, : part.shape[1]]
                into[here] = part[at[here, 1]]
        self._touched += sum(max(array.nbytes, len(at) * _AROUND) for array in out.values())
        return out

    def _let_go(self) -> None:
        """Give mapped pages back once many have been read; the system still has them, but this process does not."""
        if self._touched > _MAPPED:
            for arrays in self._parts:
                for array in arrays.values():
                    pages: Any = array.base
                    if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                        pages.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


class FeatureStore:
    """The features of one column's distinct values; read as a `FieldStore` is.

    `items` gives `pooled` float32 [U, D] and, where tokens are kept, `tokens` [U, N, D] and `mask` bool [U, N].
    """

    def __init__(self, shelf: Shelf, at: np.ndarray, spec: FeatureSpec, *, tokens: bool, cache_bytes: int) -> None:
        self.shelf, self.at, self.spec, self.tokens, self.cache_bytes = shelf, at, spec, tokens, cache_bytes
        self._arrays: Arrays | None = None

    def load(self) -> bool:
        """Copy everything into memory, once, if it fits; say whether it is there."""
        if self._arrays is None and value_bytes(self.spec, tokens=self.tokens) * len(self.at) <= self.cache_bytes:
            self._arrays = self.shelf.read(self.at) if len(self.at) else self.placeholder()
        return self._arrays is not None

    def items(self, at_U: np.ndarray, pool: Executor | None = None, epoch: int = 0) -> Arrays:
        """The features of the values numbered `at_U`; tokens cut to the longest of them."""
        if self._arrays is None:
            out = self.shelf.read(self.at[at_U])
        else:
            out = {name: array[at_U] for name, array in self._arrays.items()}
        if "mask" in out:
            longest = int(np.flatnonzero(np.asarray(out["mask"]).any(axis=0))[-1]) + 1
            out |= {name: np.ascontiguousarray(out[name][:, :longest]) for name in ("tokens", "mask")}
        return out

    def placeholder(self) -> Arrays:
        """What stands for a missing value, U = 1."""
        out = {"pooled": np.zeros((1, self.spec.width), np.float32)}
        if self.tokens:
            out |= {"tokens": np.zeros((1, 1, self.spec.width), np.float32), "mask": np.ones((1, 1), np.bool_)}
        return out


def value_bytes(spec: FeatureSpec, *, tokens: bool) -> int:
    """The most that one value's features take."""
    return 4 * spec.width * (1 + spec.tokens if tokens else 1) + (spec.tokens if tokens else 0)


def padded(array: np.ndarray, length: int) -> np.ndarray:
    """Tokens or their mask, [U, N, ...] -> [U, length, ...], zeros where there were none."""
    return np.pad(array, ((0, 0), (0, length - array.shape[1]), *[(0, 0)] * (array.ndim - 2)))


def _name(identity: str) -> str:
    return hashlib.blake2b(f"{FORMAT} {identity}".encode(), digest_size=16).hexdigest()


def _spec(saved: Mapping[str, object]) -> FeatureSpec:
    options = dict(saved)
    grid = options.pop("grid")
    return FeatureSpec(**options, grid=tuple(grid) if isinstance(grid, list) else None)  # type: ignore[arg-type]


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / _RECORD).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None


def _write_record(folder: Path, record: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{_PARTIAL}{uuid.uuid4().hex}.json"
    partial.write_text(json.dumps(record), encoding="utf-8")
    partial.replace(folder / _RECORD)


def _segments(folder: Path) -> Iterable[tuple[np.ndarray, Arrays]]:
    """Keys and mapped arrays of every whole segment, in the order of their names; one that vanishes is skipped."""
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir()) if folder.is_dir() else []
    for name in names:
        if name.startswith(_PARTIAL):
            continue
        with contextlib.suppress(FileNotFoundError, ValueError):
            files = sorted((folder / name).glob("*.npy"))
            arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in files}
            yield np.array(arrays.pop("keys")), arrays


def _sweep(folder: Path) -> None:
    """Take away what writers that were killed have left."""
    for left in folder.glob(f"{_PARTIAL}*"):
        if time.time() - _used(left) > _STALE:
            shutil.rmtree(left, ignore_errors=True)
            left.unlink(missing_ok=True)


def _size(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return 0


def _used(folder: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return folder.stat().st_mtime
    return 0.0


def _remove(folder: Path) -> None:
    """Take a shelf away; whoever has it mapped keeps what is mapped."""
    trash = folder.with_name(f"{_PARTIAL}{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)
