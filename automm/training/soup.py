"""A model soup: one model whose weights are the mean of several models' (Wortsman et al., ICML 2022, arXiv:2203.05482).

It costs what one of them costs. Only models that began at the same weights can be averaged: those of a search do where
they are the same network, for weights are drawn by the run's seed alone, or come from the same file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from automm.space import Candidate

INGREDIENT = "soup.weights"  # beside a trial's state: its weights as it was judged
_OF_TRAINING = ("dropout", "tune", "last_k")  # options of components that change how a network learns, not what it is


def same_network(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates are the same function of their weights, whatever they are trained by; heads may still
    differ in width, which `alike` sees."""
    return _network(one) == _network(other)


def _network(candidate: Candidate) -> Candidate:
    return {
        path: value
        for path, value in candidate.items()
        if path == "training.solver" or not (path.startswith("training.") or path.rpartition(".")[2] in _OF_TRAINING)
    }


def alike(states: Sequence[Mapping[str, Tensor]]) -> bool:
    """Whether all have tensors of the same names and shapes."""
    first, *others = ({name: tensor.shape for name, tensor in state.items()} for state in states)
    return all(each == first for each in others)


def mean(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor; the first's where it is the same in all, or no real number."""
    out = {}
    for name, first in states[0].items():
        others = [state[name] for state in states[1:]]
        if first.is_floating_point() and not all(torch.equal(first, other) for other in others):
            first = torch.stack([first.double(), *(other.double() for other in others)]).mean(0).to(first.dtype)
        out[name] = first
    return out
