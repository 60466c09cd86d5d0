"""Python objects through a pipe between a process and workers it started itself; nobody else writes to it."""

from __future__ import annotations

import pickle
from typing import IO, Any


def send(stream: IO[bytes], message: Any) -> None:
    """Write one object, whole."""
    pickle.dump(message, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


def receive(stream: IO[bytes]) -> Any | None:
    """The next object; None when the other side is gone."""
    try:
        return pickle.load(stream)
    except (EOFError, OSError, pickle.UnpicklingError):
        return None
