"""Preprocessed values in a file, where they are too much for memory and too dear to be made again every epoch.

A record is what one value became: its arrays one after the other, each cut to the value's own length. Records are read,
not mapped, so that the file is held by the system as long as there is room, and never by this process.

Shape legend: U values asked for, L the length of the longest of them.
"""

from __future__ import annotations

import contextlib
import math
import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, Self

import numpy as np

from automm.data.unnamed_file import unnamed_file
from automm.types import TensorSpec

Arrays = dict[str, np.ndarray]


class RecordFile:
    """Records in the order they are added; the file has no name and is gone with the process.

    Args:
        file: where to.
        signature: the arrays of a value; at most one dimension has a name, and is as long as the value is.
    """

    AVAILABLE: ClassVar[bool] = hasattr(os, "pread")  # not on Windows

    def __init__(self, file: IO[bytes], signature: Mapping[str, TensorSpec]) -> None:
        self.signature = dict(signature)
        self.close = weakref.finalize(self, _closed, file)  # gives the disk back, as does losing sight of it
        self._file = file
        self._lengths: list[np.ndarray] = []  # as they come
        self._pads: Mapping[str, np.generic] = {}
        self._at, self._long = np.empty(0, np.int64), np.empty(0, np.int64)  # where each begins, and its length

    @classmethod
    def made(cls, folder: Path, signature: Mapping[str, TensorSpec]) -> Self | None:
        """A new one on the disk of a folder; None where none can be made."""
        try:
            return cls(unnamed_file(folder), signature)
        except OSError:
            return None

    def add(self, arrays: Mapping[str, np.ndarray], lengths_U: np.ndarray) -> bool:
        """Some more values, [U, ...] each, and what each needs of the dynamic dimension. False: the disk is full."""
        self._lengths.append(lengths_U)
        try:
            for at, length in enumerate(lengths_U.tolist()):
                for name, spec in self.signature.items():
                    part = arrays[name][_place(at, _shape(spec, length))]
                    self._file.write(np.ascontiguousarray(part, spec.dtype).data)
        except OSError:
            return False
        return True

    def finish(self, pads: Callable[[np.ndarray], Mapping[str, np.generic]]) -> bool:
        """After the last of them; False: the disk is full.

        Args:
            pads: of the lengths of all values, what stands behind the end of an array of dynamic length, by its name.
        """
        try:
            self._file.flush()
        except OSError:
            return False
        self._long, self._lengths = np.concatenate(self._lengths), []
        self._pads = pads(self._long)
        sizes = np.zeros(len(self._long), np.int64)
        for spec in self.signature.values():
            fixed = math.prod(n for n in spec.shape if not isinstance(n, str)) * np.dtype(spec.dtype).itemsize
            sizes += fixed * (self._long if any(isinstance(n, str) for n in spec.shape) else 1)
        self._at = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        return True

    def read(self, at_U: np.ndarray) -> Arrays:
        """The values of these numbers, at least one; arrays of dynamic length [U, L]."""
        longest = int(self._long[at_U].max())
        out = {
            name: np.full((len(at_U), *_shape(spec, longest)), self._pads.get(name, 0), spec.dtype)
            for name, spec in self.signature.items()
        }
        descriptor = self._file.fileno()
        for to, at in enumerate(at_U.tolist()):
            start, length = int(self._at[at]), int(self._long[at])
            raw, offset = os.pread(descriptor, int(self._at[at + 1]) - start, start), 0
            for name, spec in self.signature.items():
                shape = _shape(spec, length)
                part = np.frombuffer(raw, spec.dtype, math.prod(shape), offset)
                out[name][_place(to, shape)] = part.reshape(shape)
                offset += part.nbytes
        return out


def _closed(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # what could not be written is not missed
        file.close()


def _shape(spec: TensorSpec, length: int) -> tuple[int, ...]:
    return tuple(length if isinstance(n, str) else n for n in spec.shape)


def _place(at: int, shape: tuple[int, ...]) -> Any:
    """Where a value of this shape is among others, of which some are larger."""
    return (at, *(slice(n) for n in shape))
