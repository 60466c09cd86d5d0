"""Small inputs that checks are run on: features, raw values, tables. All of them seeded.

Shape legend: B rows or items, N tokens, W an encoder's width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from automm.types import Column, Features, FeatureSpec, FieldSpec, Schema, Table

IMAGE = FeatureSpec("image", "image", 8, 6, True, grid=(2, 3))
TEXT = FeatureSpec("question", "text", 12, 9, True)
AGE = FeatureSpec("age", "numeric", 4, 1, False)
COLOUR = FeatureSpec("colour", "categorical", 5, 1, False)

# What fusions are asked to fuse. Names that are no identifiers, or that are attributes of a module, are legal.
FIELDS: Mapping[str, tuple[FeatureSpec, ...]] = {
    "image and text": (IMAGE, TEXT),
    "image, text and a number": (IMAGE, TEXT, AGE),
    "two images and a text": (
        FeatureSpec("left.image", "image", 8, 6, True),
        FeatureSpec("forward", "image", 10, 4, True),
        TEXT,
    ),
    "a number and a category": (AGE, COLOUR),
    "image and a number": (IMAGE, AGE),
    "one image": (IMAGE,),
    "one text": (TEXT,),
    "one number": (AGE,),
}


def features(specs: Sequence[FeatureSpec], count: int, *, seed: int = 0, texts: int = 5) -> dict[str, Features]:
    """Random Features of `count` items for every spec; texts have `texts` tokens, masks at least one valid one."""
    random = torch.Generator().manual_seed(seed)
    out = {}
    for spec in specs:
        length = min(texts, spec.tokens) if spec.modality == "text" else spec.tokens
        pooled_BW = torch.randn(count, spec.width, generator=random)
        tokens_BNW = torch.randn(count, length, spec.width, generator=random) if spec.has_tokens else pooled_BW[:, None]
        mask_BN = torch.rand(count, length, generator=random) < 0.6
        mask_BN[:, 0] = True
        out[spec.field] = Features(tokens_BNW, mask_BN, pooled_BW)
    return out


def raw_values(modality: str) -> list[Any] | None:
    """A few distinct raw values of a modality, as a data source gives them; None where there are no samples."""
    random = np.random.default_rng(0)
    if modality == "image":
        return [random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 32), (32, 48), (36, 36), (64, 20))]
    if modality == "text":
        return ["what is red", "how many", "is the small thing left of the big one", "why"]
    if modality == "numeric":
        return [0.5, -3.0, 12.25, 1e3]
    if modality == "categorical":
        return ["red", "green", "blue", "other"]
    if modality == "audio":
        return [(random.normal(size=n).clip(-4, 4) / 8, rate) for n, rate in ((4000, 8000), (9000, 16000), (300, 8000))]
    return None


def table(targets: Sequence[Any], *, seed: int = 0) -> Table:
    """A table of two numeric fields with these targets, and a group that splits the rows in two."""
    random = np.random.default_rng(seed)
    rows = len(targets)
    columns = {name: Column(random.normal(size=rows).tolist(), np.arange(rows)) for name in ("x", "y")}
    half = np.where(np.arange(rows) % 2 == 0, "even", "odd")
    schema = Schema(tuple(FieldSpec(name, "numeric") for name in columns))
    return Table(schema, columns, list(targets), list(range(rows)), {"half": half})
