"""An exponential moving average of a model's weights, which is what is evaluated and kept."""

from __future__ import annotations

import copy

import torch

from automm.model import Model


class Average:
    """A copy of a model whose trainable weights follow the original's at a distance.

    The decay starts low and rises to its value, min(decay, t / (t + 10)) in step t, so that the first weights are soon
    forgotten.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.decay = decay
        pairs = zip(self.model.parameters(), model.parameters(), strict=True)
        self._pairs = [(mine, other) for mine, other in pairs if other.requires_grad]
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the original after its step number `step`, counted from 1."""
        weight = 1 - min(self.decay, step / (step + 10))
        if self._pairs:
            torch._foreach_lerp_([mine for mine, _ in self._pairs], [other for _, other in self._pairs], weight)
        for mine, other in self._buffers:
            mine.copy_(other)
