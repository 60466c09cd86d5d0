"""What a component raises becomes an error that names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from automm.errors import AutommError, TrialFailed


@contextmanager
def blamed(who: str) -> Iterator[None]:
    """Whatever a component raises becomes TrialFailed naming it; errors meant for users and memory running out pass."""
    try:
        yield
    except (AutommError, TrialFailed, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise TrialFailed(f"{who} raised {type(error).__name__}: {error}") from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch's CPU allocator raises a plain RuntimeError."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
