"""Random crops and colours: in training an image is another picture of the same thing in every epoch, or every few.

Shape legend: U distinct images of a batch, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from automm.types import Batch

Augment = Literal["none", "crop", "crop_flip", "trivial"]
AUGMENTS: tuple[Augment, ...] = get_args(Augment)
NONE: Augment = "none"
PIXELS = "pixels"  # what an image's preprocessing calls them
_LEAST_AREA = 0.6  # of an image, that a crop keeps


def augmented(batch: Batch, how: Augment, draws: np.random.Generator) -> Batch:
    """The batch, on the CPU, with every image of it changed at random; `none` changes nothing."""
    if how == NONE:
        return batch
    inputs = {
        field: {key: _each(value, how, draws) if key == PIXELS else value for key, value in tensors.items()}
        for field, tensors in batch.inputs.items()
    }
    return replace(batch, inputs=inputs)


@dataclass(frozen=True)
class View:
    """One of the pictures that are made of each image for good, so that their features can be kept.

    It is a function of the image and of this, whoever else is encoded with it.
    """

    how: str  # one of AUGMENTS
    number: int

    def __str__(self) -> str:
        return f"{self.how}, view {self.number + 1}"

    @property
    def identity(self) -> str:
        """What the picture depends on beside the image."""
        return f"{self}, crops from {_LEAST_AREA}, torchvision {version('torchvision')}"

    def of(self, arrays: Mapping[str, np.ndarray], keys_U: np.ndarray) -> dict[str, np.ndarray]:
        """What an image's preprocessing returns, its pixels changed; `keys_U` are uint8 digests of the images."""
        if PIXELS not in arrays:
            return dict(arrays)
        pixels_UCHW, changed = torch.from_numpy(arrays[PIXELS]), []
        for at, key in enumerate(keys_U):
            draws = np.random.default_rng([self.number, *key.tolist()])
            changed.append(_each(pixels_UCHW[at : at + 1], self.how, draws))
        return {**arrays, PIXELS: torch.cat(changed).numpy()}


def _each(pixels_UCHW: Tensor, how: str, draws: np.random.Generator) -> Tensor:
    """Pixels uint8 [U, 3, H, W] -> the same shape."""
    change = _transform(how, *pixels_UCHW.shape[2:])
    with torch.random.fork_rng(devices=[]):  # torchvision draws from torch, and dropout shall not notice
        torch.default_generator.manual_seed(int(draws.integers(2**63)))
        return torch.stack([change(pixels_CHW) for pixels_CHW in pixels_UCHW])


@cache
def _transform(how: str, height: int, width: int) -> Callable[[Tensor], Tensor]:
    """Of one image: a crop, also mirrored, or one change of any strength (Müller & Hutter 2021, arXiv:2103.10158)."""
    from torchvision.transforms import v2

    parts: list[Callable[[Tensor], Tensor]] = []
    if how == "trivial":
        parts.append(v2.TrivialAugmentWide())
    else:
        parts.append(v2.RandomResizedCrop((height, width), scale=(_LEAST_AREA, 1.0), antialias=True))
    if how == "crop_flip":
        parts.append(v2.RandomHorizontalFlip())
    whole: Callable[[Tensor], Tensor] = v2.Compose(parts)
    return whole
