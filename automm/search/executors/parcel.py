"""An object for any number of processes of this machine, its arrays in one file that all of them map."""

from __future__ import annotations

import mmap
import os
import pickle
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from automm.data.unnamed_file import unnamed_file

_WORTH = 1 << 20  # bytes of arrays that are worth a file
_ALIGNED = 64  # bytes: what Arrow asks of its buffers


@dataclass(frozen=True)
class Parcel:
    """A pickled object, and where its buffers are."""

    pickled: bytes
    path: str | None = None  # None: within `pickled`
    spans: tuple[tuple[int, int], ...] = ()  # of each buffer in the file: where it starts and ends

    def opened(self) -> Any:
        """The object. Its arrays are mapped: what is written to them stays with this process.

        Raises:
            OSError: the process that packed it is gone, or may not be looked into.
        """
        if self.path is None:
            return pickle.loads(self.pickled)
        with Path(self.path).open("rb") as file:
            pages = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        return pickle.loads(self.pickled, buffers=[pages[start:end] for start, end in self.spans])


def pack(thing: Any) -> tuple[Parcel, IO[bytes] | None]:
    """The object in a parcel, and the file its arrays are in, if any: to be kept open as long as the parcel serves.

    The file has no name, so that it is gone with this process, however that ends.

    Raises:
        PicklingError, AttributeError, TypeError: the object cannot be pickled.
    """
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    if sum(view.nbytes for view in views) >= _WORTH:
        filed = _filed(pickled, views)
        if filed is not None:
            return filed
    return Parcel(pickle.dumps(thing, protocol=pickle.HIGHEST_PROTOCOL)), None


def _filed(pickled: bytes, views: list[memoryview]) -> tuple[Parcel, IO[bytes]] | None:
    """The parcel whose arrays are in a file; None where the disk is full, or no path leads to the file."""
    with suppress(OSError):
        file = unnamed_file()
        try:
            path = Path("/proc") / str(os.getpid()) / "fd" / str(file.fileno())  # Linux alone
            if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
                raise FileNotFoundError(path)  # what /proc shows are not the processes here
            return Parcel(pickled, str(path), _written(views, file)), file
        except OSError:
            with suppress(OSError):  # what could not be written is tried once more
                file.close()
    return None


def _written(views: list[memoryview], file: IO[bytes]) -> tuple[tuple[int, int], ...]:
    """Where each of them is in the file."""
    spans = []
    for view in views:
        start = file.seek(-file.tell() % _ALIGNED, os.SEEK_CUR)
        file.write(view)
        spans.append((start, file.tell()))
    file.flush()
    return tuple(spans)
