"""Sparsely gated mixture of experts.

Shape legend: B rows, U distinct items, D hidden units, E experts, K experts chosen for a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automm.errors import OutOfRange
from automm.fusions.fusion import Fusion
from automm.space import Float, OneOf, Space
from automm.types import Features, FeatureSpec, Stream


class MixtureOfExperts(Fusion):
    """Sparsely gated mixture of experts (Shazeer et al. 2017, arXiv:1701.06538), [B, hidden].

    The pooled vectors of all fields, projected and summed, x, go to E experts, each a two-layer MLP. A gate chooses for
    every row the K with the greatest logits h = x W_g + noise * softplus(x W_noise), noise only while training, and the
    stream is their outputs weighted by the softmax over those K alone; the others get a weight of exactly zero.

    Load balancing: left alone a gate feeds the experts it fed before. The paper adds the squared coefficients of
    variation of importance (each expert's gate values, summed over the batch) and of load (how many rows it gets, in a
    smooth estimate) to the loss. A fusion returns no loss, so that the gradient of `balance` * CV(importance)^2 is
    added to the gate's values as they are passed back; the forward pass is not changed by it. The noise does what the
    load term does in the paper: it lets experts near the top be chosen now and then.

    At these widths computing all experts at once is faster than gathering rows, and exports as it stands.

    Args:
        specs: what the encoders return, one a field, one field or more.
        hidden: units of every expert, and the width of the stream.
        experts: how many experts there are, E.
        chosen: how many of them a row is given to, K; E or more makes a soft mixture.
        noise: scale of the noise on the gate's logits while training; 0 is none.
        balance: strength of the pull towards experts that are used equally; 0 is none.
        dropout: after every expert's activation.

    Raises:
        OutOfRange: there is no expert, or none is chosen.
    """

    TOKENS: ClassVar[bool] = False
    SPACE: ClassVar[Space] = Space(
        {
            "hidden": OneOf((64, 128, 256, 512), ordered=True, default=128),
            "experts": OneOf((2, 4, 8, 16), ordered=True, default=8),
            "chosen": OneOf((1, 2, 4), ordered=True, default=2),
            "dropout": Float(0.0, 0.5, default=0.0),
        }
    )

    def __init__(
        self,
        specs: Sequence[FeatureSpec],
        *,
        hidden: int = 128,
        experts: int = 8,
        chosen: int = 2,
        noise: float = 1.0,
        balance: float = 0.01,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if experts < 1 or chosen < 1:
            raise OutOfRange(f"moe with experts={experts} and chosen={chosen} does nothing. Next: 1 or more of both.")
        self.chosen, self.noise, self.balance = min(chosen, experts), noise, balance
        self._at = {spec.field: at for at, spec in enumerate(specs)}  # a field may be called anything
        self.project = nn.ModuleList(nn.Sequential(_norm(s), nn.Linear(s.width, hidden)) for s in specs)
        self.gate = nn.Linear(hidden, experts, bias=False)
        self.gate_noise = nn.Linear(hidden, experts, bias=False)
        nn.init.normal_(self.gate.weight, std=0.01)  # nearly alike at the start, told apart by noise; no ties
        nn.init.zeros_(self.gate_noise.weight)
        self.first_EDD = nn.Parameter(torch.randn(experts, hidden, hidden) * (2 / hidden) ** 0.5)
        self.second_EDD = nn.Parameter(torch.randn(experts, hidden, hidden) * hidden**-0.5)
        self.bias_ED = nn.Parameter(torch.zeros(experts, hidden))
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden)
        self.widths = (hidden,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Any fields, one or more."""
        return None if specs else "moe needs an input field, and there is none."

    def prepare(self, field: str, features: Features) -> Features:
        """The field's share of x, [U, D]."""
        x_UD = self.project[self._at[field]](features.pooled_BD)
        return Features(x_UD[:, None], torch.ones_like(x_UD[:, :1], dtype=torch.bool), x_UD)

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, D]."""
        x_BD = reduce(torch.add, [f.pooled_BD for f in features.values()])
        return (Stream(self.norm(x_BD + self.mix(x_BD, self.gates(x_BD)))),)

    def gates(self, x_BD: Tensor) -> Tensor:
        """The weight of every expert for every row, [B, E]: K of them above zero, their sum one."""
        logits_BE = self.gate(x_BD)
        if self.training and self.noise:
            spread_BE = F.softplus(self.gate_noise(x_BD))
            logits_BE = logits_BE + self.noise * spread_BE * torch.randn_like(logits_BE)
        top_BK, at_BK = logits_BE.topk(self.chosen, dim=-1)
        gates_BE = torch.zeros_like(logits_BE).scatter(-1, at_BK, top_BK.softmax(-1))
        if self.training and self.balance:
            balanced: Tensor = _Balance.apply(gates_BE, self.balance)
            return balanced
        return gates_BE

    def mix(self, x_BD: Tensor, gates_BE: Tensor) -> Tensor:
        """What the experts say, weighted, [B, D]."""
        hidden_BED = torch.einsum("bd,edh->beh", x_BD, self.first_EDD) + self.bias_ED
        hidden_BED = self.drop(torch.relu(hidden_BED)) * gates_BE[..., None]
        return torch.einsum("beh,ehd->bd", hidden_BED, self.second_EDD)


def importance_loss(gates_BE: Tensor) -> Tensor:
    """CV(importance)^2: variance over squared mean of the experts' summed gates; 0 when all are equal."""
    importance_E = gates_BE.sum(0)
    return importance_E.var(unbiased=False) / (importance_E.mean() ** 2 + 1e-10)


class _Balance(torch.autograd.Function):
    """The identity, whose gradient is that of `importance_loss` times a strength on top of what is passed back."""

    @staticmethod
    def forward(ctx: Any, gates_BE: Tensor, strength: float) -> Tensor:
        ctx.save_for_backward(gates_BE)
        ctx.strength = strength
        return gates_BE.view_as(gates_BE)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (gates_BE,) = ctx.saved_tensors
        with torch.enable_grad():
            free_BE = gates_BE.detach().requires_grad_()
            (pull_BE,) = torch.autograd.grad(importance_loss(free_BE), free_BE)
        return grads[0] + ctx.strength * pull_BE, None


def _norm(spec: FeatureSpec) -> nn.Module:
    """LayerNorm for what a network made; numbers and categories keep their magnitude."""
    return nn.Identity() if spec.modality in ("numeric", "categorical") else nn.LayerNorm(spec.width)
