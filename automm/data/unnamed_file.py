"""A file that nobody has to clear away."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO


def unnamed_file(folder: Path | None = None, *, buffering: int = -1) -> IO[bytes]:
    """A file without a name, gone when it is closed or this process ends, however that ends.

    Args:
        folder: on whose disk; None = that of temporary files.
        buffering: as `open` takes it.

    Raises:
        OSError: none can be made there.
    """
    return tempfile.TemporaryFile(dir=folder, buffering=buffering)
