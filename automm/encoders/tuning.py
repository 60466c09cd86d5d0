"""How much of a pretrained encoder is trained: nothing, its last blocks, or all of it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Literal, get_args

from torch import nn

from automm.encoders.encoder import Encoder
from automm.encoders.weights import content, parse_weights, revision
from automm.errors import ConfigError, OutOfRange
from automm.space import Int, OneOf, Space

Tune = Literal["frozen", "last_k", "full"]

# What a pretrained encoder lets a search choose.
TUNING = Space({"tune": OneOf(("frozen", "last_k", "full"), ordered=True, default="frozen", ladder=True, children={
    "last_k": Space({"last_k": Int(1, 4, default=1)}),
})})  # fmt: skip


def apply_tuning(encoder: Encoder, tune: str, last_k: int) -> None:
    """Freeze what `tune` does not train: no gradients, and evaluation mode for good.

    `last_k` trains the last so many of `encoder.layers()` and every parameter registered after the first of them;
    what is registered before (embeddings, a stem, class tokens) is frozen.

    Raises:
        ConfigError: there is no such mode.
        OutOfRange: `last_k` asks for more blocks than there are, or for none.
    """
    if tune not in get_args(Tune):
        raise ConfigError(f"tune={tune} is not allowed: one of {', '.join(get_args(Tune))}")
    encoder.requires_grad_(True)
    encoder.frozen = ()
    if tune == "frozen":
        encoder.requires_grad_(False)
        encoder.frozen = tuple(encoder.modules())
    elif tune == "last_k":
        first = _first_trained(encoder, last_k)
        _freeze_parameters_before(encoder, first)
        encoder.frozen = _modules_before(encoder, first)
    encoder.train(encoder.training)


def frozen_identity(
    cls: type[Encoder], options: Mapping[str, Any], packages: Sequence[str], hub: Callable[[str], str | None]
) -> str | None:
    """The `identity` of an encoder from weights, where it is frozen: weights, options, versions of libraries.

    Args:
        cls: has the options `model`, `weights` and `tune`; whatever else it takes counts too, given or not.
        options: as given.
        packages: the distributions whose code computes the outputs, beside torch.
        hub: the hub's repository of the weights that a model's name stands for; None = it cannot be told.

    Raises:
        ConfigError: the weights are not there.
    """
    taken = inspect.signature(cls).parameters.values()
    known = {o.name: o.default for o in taken if o.kind is o.KEYWORD_ONLY} | dict(options)
    del known["last_k"]
    weights = parse_weights(known.pop("weights"))
    if known.pop("tune") != "frozen" or weights.source == "none":
        return None
    repository = hub(known["model"]) if weights.source == "default" else None
    held = revision(repository) if repository else content(weights)
    if held is None:
        return None
    versions = {package: _version(package) for package in ("torch", *packages)}
    name = {"encoder": cls.__name__, "weights": [weights.source, held], "versions": versions, **known}
    return json.dumps(name, sort_keys=True)


@cache
def _version(package: str) -> str:
    """Reading it takes milliseconds, and every trial asks."""
    return version(package)


def sequence_blocks(model: nn.Module) -> list[nn.Module]:
    """The children of a model's sequences, in order; its own children where it has none. Only those with weights."""
    parts = [child for child in model.children() if _has_weights(child)]
    sequences = [part for part in parts if isinstance(part, (nn.Sequential, nn.ModuleList))]
    inner = [block for sequence in sequences for block in sequence if _has_weights(block)]
    return inner or parts


def longest_list(model: nn.Module) -> list[nn.Module]:
    """The modules of the longest ModuleList: a transformer's blocks, whatever the model calls them."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda blocks: len(blocks), default=[model])


def _first_trained(encoder: Encoder, last_k: int) -> nn.Module:
    layers = encoder.layers()
    if not 1 <= last_k <= len(layers):
        raise OutOfRange(
            f"last_k={last_k} is not allowed: the encoder of {encoder.spec.field!r} has {len(layers)} blocks. "
            f"Next: last_k from 1 to {len(layers)}, or tune=full."
        )
    return layers[-last_k]


def _freeze_parameters_before(encoder: Encoder, first: nn.Module) -> None:
    trained = {id(parameter) for parameter in first.parameters()}
    for parameter in encoder.parameters():
        if id(parameter) in trained:
            return
        parameter.requires_grad_(False)


def _modules_before(encoder: Encoder, first: nn.Module) -> tuple[nn.Module, ...]:
    """The modules registered before `first`, its ancestors left out."""
    path = next(name for name, module in encoder.named_modules() if module is first)
    before = []
    for name, module in encoder.named_modules():
        if module is first:
            break
        if name and not path.startswith(f"{name}."):
            before.append(module)
    return tuple(before)


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
