"""What a model costs, counted rather than timed, so that a constraint on it is the same on every machine."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from automm.model import Model
from automm.training.evaluate import evaluating
from automm.training.fit import Part


def gflop_per_row(model: Model, part: Part, *, batch_size: int) -> float:
    """GFLOP (10^9 multiplications and additions) of a forward pass of one row, items shared by rows counted once.

    Args:
        model: on the CPU.
        part: its first batch, in the table's order, is what is counted.
        batch_size: rows of that batch.
    """
    batch = next(iter(part.loader(batch_size=batch_size, shuffle=False, seed=0)))
    with evaluating(model), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(batch)
    return float(counter.get_total_flops()) / len(batch) / 1e9
