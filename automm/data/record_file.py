"""Preprocessed values in a file, where they are too much for memory and too dear to be made again every epoch.

A record is what one value became: its arrays one after the other, each cut to the value's own length. Records are read,
not mapped, so that the file is held by the system as long as there is room, and never by this process.

Shape legend: U values asked for, L the length of the longest of them.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from automm.types import TensorSpec

Arrays = dict[str, np.ndarray]


class RecordFile:
    """Records in the order they are added; the file has no name and is gone with the process.

    Args:
        folder: whose disk it takes.
        signature: the arrays of a value; at most one dimension has a name, and is as long as the value is.
        pads: by name of an array of dynamic length, what stands behind its end.
    """

    def __init__(self, folder: Path, signature: Mapping[str, TensorSpec], pads: Mapping[str, np.generic]) -> None:
        self.signature, self.pads = dict(signature), pads
        self._file = _without_name(folder)
        self.close = weakref.finalize(self, _closed, self._file)  # gives the disk back, as does losing sight of it
        self._starts, self._lengths = [0], list[int]()
        self._at, self._long = np.empty(0, np.int64), np.empty(0, np.int64)  # the same, once all are there

    def add(self, arrays: Mapping[str, np.ndarray], lengths_U: np.ndarray) -> None:
        """Some more values, [U, ...] each, and how much of the dynamic dimension each value needs.

        Raises:
            OSError: the disk is full.
        """
        for at, length in enumerate(lengths_U.tolist()):
            for name, spec in self.signature.items():
                part = arrays[name][at][tuple(slice(n) for n in _shape(spec, length))]
                self._file.write(np.ascontiguousarray(part, spec.dtype).data)
            self._starts.append(self._file.tell())
            self._lengths.append(length)

    def finish(self) -> None:
        """After the last of them.

        Raises:
            OSError: the disk is full.
        """
        self._file.flush()
        self._at, self._long = np.array(self._starts), np.array(self._lengths, np.int64)
        self._starts, self._lengths = [], []

    def read(self, at_U: np.ndarray) -> Arrays:
        """The values of these numbers, at least one; arrays of dynamic length [U, L]."""
        longest = int(self._long[at_U].max())
        out = {
            name: np.full((len(at_U), *_shape(spec, longest)), self.pads.get(name, 0), spec.dtype)
            for name, spec in self.signature.items()
        }
        descriptor = self._file.fileno()
        for to, at in enumerate(at_U.tolist()):
            start, length = int(self._at[at]), int(self._long[at])
            raw, offset = os.pread(descriptor, int(self._at[at + 1]) - start, start), 0
            for name, spec in self.signature.items():
                shape = _shape(spec, length)
                part = np.frombuffer(raw, spec.dtype, math.prod(shape), offset)
                out[name][to][tuple(slice(n) for n in shape)] = part.reshape(shape)
                offset += part.nbytes
        return out


def _closed(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # what could not be written is not missed
        file.close()


def _without_name(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


def _shape(spec: TensorSpec, length: int) -> tuple[int, ...]:
    return tuple(length if isinstance(n, str) else n for n in spec.shape)
