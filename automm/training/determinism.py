"""The same seed gives the same numbers. Every (seed, epoch) has its own stream: nothing need be saved to resume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

_APART = 1  # of the streams of one seed and epoch


def start_epoch(seed: int, epoch: int) -> None:
    """Seed torch's generators for one epoch of one fit; dropout draws from them."""
    torch.manual_seed(int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1))


def epoch_draws(seed: int, epoch: int) -> np.random.Generator:
    """What else is drawn in an epoch of a fit, apart from torch's generators: no draw of dropout moves by it."""
    return np.random.default_rng([seed, epoch, _APART])


@contextmanager
def deterministic(device: torch.device, threads: int | None) -> Iterator[None]:
    """Deterministic kernels and `threads` of them while the block runs; torch's own generator comes out as it went in.

    On CUDA only cuDNN is held to it: scatter and attention kernels there may differ in the last digits.
    """
    modes = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[] if device.type == "cpu" else None):
        try:
            torch.set_num_threads(threads or before)
            torch.use_deterministic_algorithms(device.type == "cpu")
            torch.backends.cudnn.deterministic = True
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
            yield
        finally:
            torch.use_deterministic_algorithms(modes[0])
            torch.backends.cudnn.deterministic = modes[1]
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
            torch.set_num_threads(before)
