"""Several models as one: their probabilities, averaged.

Shape legend: B rows, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from automm.encoders.encoder import Encoder
from automm.encoders.precomputed import Precomputed
from automm.model import Model
from automm.tasks.task import Task
from automm.types import Batch


class Ensemble(nn.Module):
    """Models of the same fields, read through the same preprocessing.

    Args:
        members: each whole.
        weights: one a member; they sum to 1.
        shared: by field, the encoder that stands for every member's, because all of theirs are the same function; it
            runs once a row.
    """

    def __init__(self, members: Sequence[Model], weights: Sequence[float], shared: Mapping[str, Encoder]) -> None:
        super().__init__()
        self.shared = tuple(shared)
        self.encoders = nn.ModuleList(shared.values())  # by position: a field may be called anything
        stand_ins = {field: Precomputed(encoder.spec) for field, encoder in shared.items()}
        self.members = nn.ModuleList(member.with_encoders(stand_ins) for member in members)
        self.weights = tuple(weights)
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))  # each member is calibrated by its own

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the streams that the first member's heads read."""
        return cast(Model, self.members[0]).widths

    def probabilities(self, batch: Batch, task: Task) -> Tensor:
        """Rows -> the weighted mean of what the members' logits mean to the task, [B, C]."""
        encoded = {f: encoder(batch.inputs[f]) for f, encoder in zip(self.shared, self.encoders, strict=True)}
        items = {f: {"tokens": x.tokens_BND, "mask": x.mask_BN, "pooled": x.pooled_BD} for f, x in encoded.items()}
        batch = replace(batch, inputs={**batch.inputs, **items})
        parts = [
            weight * task.probabilities(member(batch))
            for weight, member in zip(self.weights, self.members, strict=True)
        ]
        return torch.stack(parts).sum(0)
