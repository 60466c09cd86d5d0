"""Muon: momentum, orthogonalised, for the weight matrices of hidden layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic, steep at 0 (Jordan et al. 2024)
_STEPS = 5
_LEAST = 1e-7


class Muon(Optimizer):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon), the same function as `torch.optim.Muon`.

    That one iterates in bfloat16, for which a CPU without such units takes ten to forty times as long; here a CPU
    iterates in float32, and matrices of one shape go through it together.

    Args:
        groups: parameter groups of matrices, with `lr` and `weight_decay`.
        momentum: of the average that is orthogonalised, Nesterov's.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], *, momentum: float = 0.95) -> None:
        super().__init__(groups, {"lr": 0.01, "weight_decay": 0.0, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step for every parameter that has a gradient; `closure` is not called."""
        for group in self.param_groups:
            by_shape: dict[tuple[torch.Size, torch.device], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault((parameter.shape, parameter.device), []).append(parameter)
            for (shape, _), parameters in by_shape.items():
                turned = orthogonalised(torch.stack(self._momenta(parameters, group["momentum"])))
                rate = group["lr"] * math.sqrt(max(1.0, shape[0] / shape[1]))
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, list(turned.to(parameters[0].dtype)), alpha=-rate)

    def _momenta(self, parameters: list[Tensor], momentum: float) -> list[Tensor]:
        buffers: list[Tensor] = []
        grads: list[Tensor] = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffers.append(state["momentum_buffer"])
            if parameter.grad is not None:
                grads.append(parameter.grad)
        torch._foreach_lerp_(buffers, grads, 1 - momentum)
        return list(torch._foreach_lerp(grads, buffers, momentum))


def orthogonalised(matrices_KAB: Tensor) -> Tensor:
    """About U V^T of every matrix's singular value decomposition U S V^T, by five Newton-Schulz steps."""
    a, b, c = _COEFFICIENTS
    x_KAB = matrices_KAB.bfloat16() if matrices_KAB.is_cuda else matrices_KAB.float()
    tall = x_KAB.shape[-2] > x_KAB.shape[-1]
    x_KAB = x_KAB.mT if tall else x_KAB
    x_KAB = x_KAB / torch.linalg.matrix_norm(x_KAB, keepdim=True).clamp(min=_LEAST)
    for _ in range(_STEPS):
        gram_KAA = x_KAB @ x_KAB.mT
        x_KAB = torch.baddbmm(x_KAB, torch.baddbmm(gram_KAA, gram_KAA, gram_KAA, beta=b, alpha=c), x_KAB, beta=a)
    return x_KAB.mT if tall else x_KAB
