"""What a model costs, counted and not timed: the same on every machine, so that a search may be decided by it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from automm.model import Model
from automm.types import Batch


@dataclass(frozen=True)
class Operations:
    """Forward operations for one row, in 10^9; what rows of the batch share is shared out among them."""

    shared: float  # of encoders that models which read the same would have in common
    own: float  # of all else

    @property
    def total(self) -> float:
        """Of the model alone."""
        return self.shared + self.own


def operations(model: Model, batch: Batch, *, shared: Collection[str] = ()) -> Operations:
    """Count the operations of a pass over `batch`; the model is left in evaluation mode and without gradients.

    Args:
        model: whole.
        batch: some rows.
        shared: the fields whose encoders other models may have in common with this one.
    """
    model.eval().requires_grad_(False)
    encoders = [encoder for field, encoder in zip(model.fields, model.encoders, strict=True) if field in shared]
    inputs = [batch.inputs[field] for field in model.fields if field in shared]
    whole = _count(lambda: model(batch))
    common = _count(lambda: [encoder(items) for encoder, items in zip(encoders, inputs, strict=True)])
    return Operations(common / len(batch), (whole - common) / len(batch))


def _count(work: Callable[[], object]) -> float:
    from torch.utils.flop_counter import FlopCounterMode  # brings a compiler along

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops()) / 1e9
