"""Output shapes of somebody else's network, told by shape propagation: no numbers are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode


def output_shapes(call: Callable[[torch.Tensor], Any], *shape: int) -> list[tuple[int, ...]]:
    """The shapes of the tensor, or the tensors, that `call` makes of a float tensor of `shape`."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        made = call(torch.empty(*shape))
        return [tuple(tensor.shape) for tensor in (made if isinstance(made, tuple) else (made,))]
