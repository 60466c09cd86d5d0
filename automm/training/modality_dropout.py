"""Modality dropout: in training a row loses some of its fields, so that a model learns to do without any of them.

Shape legend: B rows, F fields.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from automm.types import Batch


def drop_fields(batch: Batch, rate: float, draws: np.random.Generator) -> Batch:
    """The batch, on the CPU, in which each field of each row is missing with probability `rate`.

    What a row lacks anyway stays so, and of what it has one field is always left: the one whose draw is highest
    (Neverova et al. 2016, arXiv:1501.00102).
    """
    present_BF = np.stack([present_B.numpy() for present_B in batch.present.values()], axis=1)
    draw_BF = np.where(present_BF, draws.random(present_BF.shape), -1.0)
    kept_BF = present_BF & ((draw_BF >= rate) | (draw_BF == draw_BF.max(axis=1, keepdims=True)))
    return replace(
        batch,
        present={f: torch.from_numpy(np.ascontiguousarray(kept_BF[:, at])) for at, f in enumerate(batch.present)},
    )
