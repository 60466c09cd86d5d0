"""What every encoder must keep.

Shape legend: U items, N tokens, W width.
"""

from __future__ import annotations

import inspect
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from automm.data.packed import packed
from automm.encoders.encoder import Encoder
from automm.runtime.kinds import load_preprocess, save_preprocess
from automm.runtime.preprocess import Preprocess
from automm.testing import samples
from automm.testing.onnx_parity import require_same_in_onnx
from automm.testing.requirement import require
from automm.testing.subject import Subject
from automm.types import Features, FieldSpec, Modality

_CLOSE = 1e-4


def check_modalities(under_test: Subject) -> None:
    """It names the modalities it reads, and both of its steps take the same options with the same defaults."""
    known = get_args(Modality)
    modalities = under_test.factory.MODALITIES
    require(
        bool(modalities) and set(modalities) <= set(known), f"MODALITIES is {modalities}; known: {', '.join(known)}"
    )
    options = under_test.component.options
    for option in inspect.signature(under_test.factory.fit_preprocess).parameters.values():
        if option.kind is option.KEYWORD_ONLY:
            require(option.name in options, f"fit_preprocess takes {option.name!r}, which __init__ does not")
            same = option.default == options[option.name].default
            require(same, f"{option.name!r} has another default in fit_preprocess than in __init__")


def check_features(under_test: Subject) -> None:
    """Features are as `spec` declares before any forward pass, a missing value's placeholder included."""
    for modality in under_test.factory.MODALITIES:
        encoder, preprocess, values = _built(under_test, modality)
        spec, count = encoder.spec, len(values) + 1
        require((spec.field, spec.modality) == ("thing", modality), f"spec is of {spec.field!r}, {spec.modality}")
        x = _encode(encoder, preprocess, [*values, None])
        require(x.pooled_BD.shape == (count, spec.width), f"pooled is {tuple(x.pooled_BD.shape)}, width {spec.width}")
        tokens = tuple(x.tokens_BND.shape)
        require(tokens[::2] == (count, spec.width), f"tokens are {tokens}, spec.width is {spec.width}")
        require(tokens[1] <= spec.tokens, f"there are {tokens[1]} tokens, and spec.tokens is {spec.tokens}")
        require(spec.grid is None or math.prod(spec.grid) == tokens[1], f"{spec.grid} holds no {tokens[1]} tokens")
        require(spec.has_tokens or tokens[1] == 1, f"has_tokens is False, and there are {tokens[1]} tokens")
        require(x.mask_BN.shape == tokens[:2] and x.mask_BN.dtype == torch.bool, "the mask is no bool [U, N]")
        require(bool(x.mask_BN.any(1).all()), "an item has no valid token")
        require(bool(torch.isfinite(x.tokens_BND).all() and torch.isfinite(x.pooled_BD).all()), "features not finite")


def check_items_are_independent(under_test: Subject) -> None:
    """In evaluation mode an item's features depend neither on other items nor on how far they stretch the padding."""
    for modality in under_test.factory.MODALITIES:
        encoder, preprocess, values = _built(under_test, modality)
        together = _encode(encoder, preprocess, values)
        for at, value in enumerate(values):
            alone = _encode(encoder, preprocess, [value])
            _require_close(alone.pooled_BD[0], together.pooled_BD[at], f"pooled of {value!r:.40} changes with company")
            left, right = alone.tokens_BND[0][alone.mask_BN[0]], together.tokens_BND[at][together.mask_BN[at]]
            require(left.shape == right.shape, f"the valid tokens of {value!r:.40} change with company")
            _require_close(left, right, f"the tokens of {value!r:.40} change with company")


def check_is_seeded(under_test: Subject) -> None:
    """The same seed builds the same network from the same values."""
    for modality in under_test.factory.MODALITIES:
        encoder, preprocess, values = _built(under_test, modality)
        again, _, _ = _built(under_test, modality)
        pooled = _encode(encoder, preprocess, values).pooled_BD
        _require_close(_encode(again, preprocess, values).pooled_BD, pooled, "two builds from one seed differ")


def check_gradients(under_test: Subject) -> None:
    """Where anything is to be trained, a finite gradient reaches it; `layers` are modules of the encoder."""
    for modality in under_test.factory.MODALITIES:
        encoder, preprocess, values = _built(under_test, modality)
        layers = list(encoder.layers())
        known = {id(module) for module in encoder.modules()}
        require(bool(layers) and all(id(layer) in known for layer in layers), "`layers` names no modules of its own")
        trained = [p for p in encoder.parameters() if p.requires_grad]
        if trained:
            x = encoder(_inputs(preprocess, values))
            random = torch.Generator().manual_seed(0)
            parts = (x.tokens_BND * x.mask_BN[..., None], x.pooled_BD)
            sum((part * torch.randn(part.shape, generator=random)).sum() for part in parts).backward()
            grads = [p.grad for p in trained if p.grad is not None]
            require(any(bool(g.abs().sum() > 0) for g in grads), "no gradient reaches any parameter that is trained")
            require(all(bool(torch.isfinite(g).all()) for g in grads), "a gradient is not finite")


def check_preprocess_survives_saving(under_test: Subject) -> None:
    """A saved preprocessing gives the arrays of the first, as its signature declares them."""
    for modality in under_test.factory.MODALITIES:
        _, preprocess, values = _built(under_test, modality)
        with tempfile.TemporaryDirectory() as folder:
            again = load_preprocess(Path(folder), **save_preprocess(preprocess, Path(folder)))
            first, second = preprocess(values), again(values)
        require(again.signature == preprocess.signature, "the signature changes when it is saved and read back")
        for name, spec in preprocess.signature.items():
            array = first[name]
            require(array.dtype == np.dtype(spec.dtype), f"{name} is {array.dtype}, the signature says {spec.dtype}")
            fixed = [n for n in spec.shape if isinstance(n, int)]
            found = [n for n, s in zip(array.shape[1:], spec.shape, strict=True) if isinstance(s, int)]
            require(found == fixed, f"{name} is {array.shape[1:]} an item, the signature says {spec.shape}")
            require(
                np.array_equal(array, second[name]), f"{name} changes when the preprocessing is saved and read back"
            )


def check_exports(under_test: Subject) -> None:
    """The same function in ONNX Runtime, at other batches and lengths than it was exported at."""
    for modality in under_test.factory.MODALITIES:
        encoder, preprocess, values = _built(under_test, modality)
        inputs = _inputs(preprocess, values)
        axes: dict[str, dict[int, str]] = {}
        for name, spec in preprocess.signature.items():
            axes[name] = {0: "batch"} | {at + 1: str(n) for at, n in enumerate(spec.shape) if isinstance(n, str)}
        others = [_inputs(preprocess, values[:1]), _inputs(preprocess, values[1:3])]
        require_same_in_onnx(_Flat(encoder, tuple(inputs)), inputs, axes, others)


CHECKS = (
    check_modalities,
    check_features,
    check_items_are_independent,
    check_is_seeded,
    check_gradients,
    check_preprocess_survives_saving,
    check_exports,
)


class _Flat(nn.Module):
    """An encoder from flat tensors to flat tensors; what is not valid is zero, for it means nothing."""

    def __init__(self, encoder: Encoder, names: Sequence[str]) -> None:
        super().__init__()
        self.encoder = encoder
        self.names = tuple(names)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The preprocessed tensors -> valid tokens and the pooled vector."""
        x = self.encoder(dict(zip(self.names, tensors, strict=True)))
        return torch.where(x.mask_BN[..., None], x.tokens_BND, torch.zeros_like(x.tokens_BND)), x.pooled_BD


def _built(under_test: Subject, modality: Modality) -> tuple[Encoder, Preprocess, list[Any]]:
    """The encoder in evaluation mode, its preprocessing, and raw values of the modality."""
    values = samples.raw_values(modality) if under_test.values is None else list(under_test.values)
    require(values is not None, f"there are no samples of {modality}. Next: subject(..., values=[...])")
    field = FieldSpec("thing", modality)
    many = packed(values or [], least=1)  # as they come where they are many
    preprocess = under_test.factory.fit_preprocess(field, many, **under_test.options)
    torch.manual_seed(0)
    encoder = under_test.build(field, preprocess)
    require(isinstance(encoder, Encoder), "it is no automm Encoder")
    return encoder.eval(), preprocess, values or []


def _inputs(preprocess: Preprocess, values: Sequence[Any]) -> Mapping[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in preprocess(values).items()}


def _encode(encoder: Encoder, preprocess: Preprocess, values: Sequence[Any]) -> Features:
    with torch.no_grad():
        features: Features = encoder(_inputs(preprocess, values))
    return features


def _require_close(found: Tensor, expected: Tensor, message: str) -> None:
    gap = float((found - expected).abs().max())
    require(gap <= _CLOSE * max(1.0, float(expected.abs().max())), f"{message}, by {gap:.1e}")
