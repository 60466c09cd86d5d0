"""The preprocessed values of one column: in memory, in a file, or made on demand.

Shape legend: U distinct items of a batch.
"""

from __future__ import annotations

import heapq
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from automm.data.record_file import RecordFile
from automm.runtime.preprocess import Preprocess
from automm.types import Column

WORKERS = min(4, os.cpu_count() or 1)  # decoding releases the interpreter lock
_CHUNK = 256  # values preprocessed by one call when everything is
_PROBED = 16  # of the longest values, to learn how long an item of dynamic length gets
_FREE = 8  # a file takes no more than one part in so many of what is free on its disk: other workers have theirs
_RESERVE = 2 << 30  # bytes of a disk that files leave to what must be written
_SMALL = 256  # bytes of a value that are not worth a record
_MASK = "mask"  # the array that says how long an item is


class Store(Protocol):
    """The values of one column as an encoder takes them."""

    def load(self) -> bool:
        """Get everything into memory, once, if it fits; say whether it is there."""

    def items(self, at_U: np.ndarray, pool: Executor | None = None, epoch: int = 0) -> dict[str, np.ndarray]:
        """The arrays of the values numbered `at_U`, each with a leading U axis, as they are in an epoch."""

    def placeholder(self) -> dict[str, np.ndarray]:
        """What stands for a missing value, U = 1."""


@dataclass(frozen=True)
class Spill:
    """Where preprocessed values go that are too much for memory."""

    folder: Path  # whose disk a file takes
    instead: int  # bytes that stay in memory after all where a file cannot be had, or is not worth it


class FieldStore:
    """The preprocessed values of one column: all of them in memory where `cache_bytes` holds them, else in a file where
    they may go to one, else made on demand.

    Several loaders may share one, whatever rows they draw.

    Args:
        field: the column's name.
        preprocess: fitted.
        column: its values.
        cache_bytes: of preprocessed values that stay in memory.
        spill: where they may go otherwise; None = nowhere.
    """

    def __init__(
        self, field: str, preprocess: Preprocess, column: Column, cache_bytes: int, spill: Spill | None = None
    ) -> None:
        self.field = field
        self.preprocess = preprocess
        self.column = column
        self.cache_bytes = cache_bytes
        self.spill = spill
        self._settled = False  # whether it is known where they stay
        self._arrays: dict[str, np.ndarray] | None = None
        self._file: RecordFile | None = None
        self._lengths: np.ndarray | None = None  # int64 [values]: how much of the dynamic axis each needs
        self._signature = preprocess.signature
        self._dynamic = {
            key: 1 + spec.shape.index(name)
            for key, spec in self._signature.items()
            for name in spec.shape
            if isinstance(name, str)
        }

    def load(self) -> bool:
        """Preprocess every value, once, if there is room for the results; say whether they are in memory.

        Raises:
            DataError: a value cannot be read.
        """
        if not self._settled:
            size, most = self._bytes(), self.cache_bytes
            if size > most and self.spill is not None:
                if self._suit_a_file(size, self.spill.folder):
                    self._file = self._in_file(self.spill.folder)
                most = max(most, self.spill.instead)
            if self._file is None and size <= most:
                self._arrays = self._in_memory()
            self._settled = True
        return self._arrays is not None

    def items(self, at_U: np.ndarray, pool: Executor | None = None, epoch: int = 0) -> dict[str, np.ndarray]:
        """The arrays of the values numbered `at_U`, by signature name, each with a leading U axis.

        Axes of dynamic length are cut to the longest item asked for. `pool` decodes what has to be made.

        Raises:
            DataError: a value cannot be read.
        """
        if self._file is not None and len(at_U):
            return self._file.read(at_U)
        if self._arrays is None:
            return self._on_demand(at_U, pool)
        out = {key: array[at_U] for key, array in self._arrays.items()}
        if self._lengths is not None and len(at_U):
            longest = int(self._lengths[at_U].max())
            for key, axis in self._dynamic.items():
                out[key] = np.ascontiguousarray(out[key].take(range(longest), axis=axis))
        return out

    def placeholder(self) -> dict[str, np.ndarray]:
        """What stands for a missing value, U = 1."""
        return self.preprocess([None])

    @property
    def _has_records(self) -> bool:
        """Whether a value can be cut to its own length: by its mask, all dynamic axes being as long as that is."""
        if not self._dynamic:
            return True
        mask = self._signature.get(_MASK)
        named = [tuple(n for n in spec.shape if isinstance(n, str)) for spec in self._signature.values()]
        return mask is not None and len(mask.shape) == 1 and set(named) <= {(), mask.shape}

    def _suit_a_file(self, size: int, folder: Path) -> bool:
        """Whether values of so many bytes are large enough each, and have room."""
        large, room = size >= _SMALL * len(self.column.values), _room(folder)
        fits = room >= size * _FREE and room - size >= _RESERVE
        return large and fits and self._has_records and RecordFile.AVAILABLE

    def _bytes(self) -> int:
        """What all values take once preprocessed; exact for fixed shapes, from the longest values for dynamic ones."""
        values = self.column.values
        if not len(values):
            return 0
        if self._dynamic:
            return len(values) * sum(int(a[0].nbytes) for a in self.preprocess(self._longest()).values())
        shapes = ((np.dtype(s.dtype).itemsize, *s.shape) for s in self._signature.values())
        return len(values) * sum(math.prod(map(int, shape)) for shape in shapes)

    def _longest(self) -> list[Any]:
        """Some of the longest values, as far as one can tell."""
        return heapq.nlargest(_PROBED, iter(self.column.values), key=lambda value: len(str(value)))

    def _in_memory(self) -> dict[str, np.ndarray]:
        """Everything, in one contiguous array a key."""
        if not len(self.column.values) or not self._has_records:
            return self.preprocess(list(self.column.values) or [None])
        return self._joined() if self._dynamic else self._filled()

    def _filled(self) -> dict[str, np.ndarray]:
        """The same of fixed shapes."""
        n = len(self.column.values)
        arrays = {k: np.empty((n, *(int(d) for d in s.shape)), s.dtype) for k, s in self._signature.items()}
        for start, part in self._chunks():
            for key, array in part.items():
                arrays[key][start : start + len(array)] = array
        return arrays

    def _joined(self) -> dict[str, np.ndarray]:
        """The same of dynamic ones, as long as the longest."""
        parts = [part for _, part in self._chunks()]
        self._lengths = np.concatenate([_lengths(part) for part in parts])
        longest, pads = int(self._lengths.max()), self._pads(self._lengths)
        arrays = {}
        for key in self._signature:
            axis = self._dynamic.get(key)
            of_key = [part.pop(key) for part in parts]
            arrays[key] = np.concatenate([
                array if axis is None else _extended(array, axis, longest, pads.get(key)) for array in of_key
            ])  # fmt: skip
        return arrays

    def _in_file(self, folder: Path) -> RecordFile | None:
        """Everything, as records; None where the disk is full."""
        file = RecordFile.made(folder, self._signature)
        if file is None:
            return None
        try:
            for _, part in self._chunks():
                rows = len(next(iter(part.values())))
                lengths = _lengths(part) if self._dynamic else np.zeros(rows, np.int64)
                if not file.add(part, lengths) or _room(folder) < _RESERVE:  # others write too
                    file.close()
                    return None
            filled = file.finish(self._pads)
        except BaseException:
            file.close()
            raise
        return file if filled else None

    def _chunks(self) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Everything in order, some values at a time: the number of the first, and their arrays."""
        n, values = len(self.column.values), self.column.values

        def made(start: int) -> dict[str, np.ndarray]:
            return self.preprocess(list(values[start : start + _CHUNK]))

        if self._dynamic:  # texts, whose tokenisers see to their own threads
            yield from ((start, made(start)) for start in range(0, n, _CHUNK))
            return
        with ThreadPoolExecutor(WORKERS, "automm-preprocess") as pool:
            for begin in range(0, n, _CHUNK * WORKERS):  # no more at a time: what is made must not pile up
                starts = range(begin, min(begin + _CHUNK * WORKERS, n), _CHUNK)
                yield from zip(starts, pool.map(made, starts), strict=True)

    def _pads(self, lengths: np.ndarray) -> dict[str, np.generic]:
        """What stands behind the end of a value, by key of dynamic length; empty where all values are as long."""
        shortest, longest = int(lengths.argmin()), int(lengths.argmax())
        if not self._dynamic or lengths[shortest] == lengths[longest]:
            return {}
        arrays = self.preprocess([self.column.values[longest], self.column.values[shortest]])
        return {key: arrays[key][1].take(-1, axis - 1).reshape(-1)[0] for key, axis in self._dynamic.items()}

    def _on_demand(self, at_U: np.ndarray, pool: Executor | None) -> dict[str, np.ndarray]:
        values = [self.column.values[i] for i in at_U]
        if pool is None or self._dynamic or len(values) < 2:
            return self.preprocess(values)
        size = -(-len(values) // WORKERS)
        parts = list(pool.map(self.preprocess, [values[i : i + size] for i in range(0, len(values), size)]))
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _lengths(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """How much of the dynamic axis each value needs, by its mask; at least 1."""
    mask = arrays[_MASK].astype(bool)
    return np.where(mask.any(axis=1), mask.shape[1] - mask[:, ::-1].argmax(axis=1), 1)


def _extended(array: np.ndarray, axis: int, length: int, pad: np.generic | None) -> np.ndarray:
    """The array with `axis` as long as `length`: cut, for what a call padded beyond its longest item, or padded."""
    if array.shape[axis] >= length:
        return array.take(range(length), axis)
    more = [(0, length - array.shape[axis] if at == axis else 0) for at in range(array.ndim)]
    return np.pad(array, more, constant_values=0 if pad is None else pad)


def _room(folder: Path) -> int:
    """Bytes that are free on its disk."""
    return shutil.disk_usage(folder).free if folder.is_dir() else 0
