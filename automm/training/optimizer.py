"""Optimizers of a model: AdamW for everything, or Muon for the matrices of hidden layers and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from automm.encoders.encoder import Encoder
from automm.model import Model
from automm.training.muon import Muon

PEAK = "peak_lr"  # in a group: what the schedule's factor multiplies
SPARING = 0.05  # of the rate, for weights that were pretrained: 1e-3 becomes the 5e-5 that BERT is tuned at


class Joint(Optimizer):
    """Several optimizers as one; `param_groups` are theirs, in order."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.parts = list(parts)

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """A step of each."""
        for part in self.parts:
            part.step(closure)


def make_optimizer(
    model: Model,
    name: str,
    *,
    lr: float,
    weight_decay: float,
    muon_lr: float,
    encoder_lr: float | None,
    beta2: float,
    fused: bool = True,
) -> Optimizer:
    """The optimizer of the trainable parameters; vectors (biases, norms) are not decayed.

    Args:
        model: on the device it will be trained on.
        name: `adamw` (Loshchilov & Hutter 2019, arXiv:1711.05101) or `muon` (Jordan et al. 2024), which takes the
            weights of linear layers except each head's last.
        lr: of AdamW.
        weight_decay: of both.
        muon_lr: of Muon.
        encoder_lr: a factor on the rates of the encoders' parameters. None = `SPARING` for encoders from weights, 1
            for others (Howard & Ruder 2018, arXiv:1801.06146, give every depth a rate of its own).
        beta2: of AdamW.
        fused: whether AdamW may be fused; a fused one cannot have its gradients unscaled by others.
    """
    matrices = {id(p) for p in _hidden_matrices(model)} if name == "muon" else set()
    factors = {id(p): factor for encoder, factor in _rated(model, encoder_lr) for p in encoder.parameters()}
    groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}  # few, for each costs a call a step
    for parameter in model.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in matrices, factors.get(id(parameter), 1.0), parameter.ndim >= 2)
            groups.setdefault(key, []).append(parameter)
    muon: list[dict[str, Any]] = []
    adamw: list[dict[str, Any]] = []
    for (by_muon, factor, decays), parameters in groups.items():
        rate = (muon_lr if by_muon else lr) * factor
        group = {"params": parameters, "lr": rate, PEAK: rate, "weight_decay": weight_decay if decays else 0.0}
        (muon if by_muon else adamw).append(group)
    parts: list[Optimizer] = []
    if muon:
        parts.append(Muon(muon))
    if adamw:
        parts.append(AdamW(adamw, betas=(0.9, beta2), fused=fused))
    return parts[0] if len(parts) == 1 else Joint(parts)


def set_factor(optimizer: Optimizer, factor: float) -> float:
    """Set every group's rate to `factor` of its peak; returns the rate of the last group."""
    rate = 0.0
    for group in optimizer.param_groups:
        rate = group["lr"] = group[PEAK] * factor
    return rate


def state_tensors(optimizer: Optimizer, names: dict[int, str]) -> dict[str, Tensor]:
    """Every tensor the optimizer keeps, as `<parameter>|<key>`; `names` maps a parameter's id to its name."""
    return {
        f"{names[id(parameter)]}|{key}": value
        for part in _parts(optimizer)
        for parameter, state in part.state.items()
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_tensors(optimizer: Optimizer, parameters: dict[str, nn.Parameter], saved: dict[str, Tensor]) -> None:
    """The inverse of `state_tensors`; tensors take their parameter's memory layout, which fused kernels rely on."""
    owner = {id(p): part for part in _parts(optimizer) for group in part.param_groups for p in group["params"]}
    for name, value in saved.items():
        at, _, key = name.rpartition("|")
        parameter = parameters[at]
        like: Any = torch.empty_like(parameter, dtype=value.dtype) if value.shape == parameter.shape else None
        state = owner[id(parameter)].state[parameter]
        state[key] = value.to(parameter.device) if like is None else like.copy_(value)


def _parts(optimizer: Optimizer) -> list[Optimizer]:
    return optimizer.parts if isinstance(optimizer, Joint) else [optimizer]


def _rated(model: Model, encoder_lr: float | None) -> Iterator[tuple[Encoder, float]]:
    """The encoders, each with the factor on its rates."""
    for encoder in model.encoders:
        assert isinstance(encoder, Encoder)
        yield encoder, encoder_lr if encoder_lr is not None else SPARING if encoder.pretrained else 1.0


def _hidden_matrices(model: Model) -> Iterator[Tensor]:
    """Weights of linear layers and packed attention projections; not embeddings, positions or outputs."""
    outputs: set[int] = set()
    for head in model.heads:
        linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
        outputs.update(id(module) for module in linear[-1:])
    for module in model.modules():
        if isinstance(module, nn.Linear) and id(module) not in outputs:
            yield module.weight
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            yield module.in_proj_weight
