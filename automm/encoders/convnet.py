"""A small convolutional network for images, trained from scratch.

Shape legend: U distinct images, C channels, H rows, W columns (of the input, then of the token grid), N = H x W tokens
or learned slots, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from automm.encoders.attention import AttentionBlock
from automm.encoders.encoder import Encoder
from automm.errors import OutOfRange
from automm.extremes import amax
from automm.runtime.images import ImagePreprocess, image_size
from automm.runtime.preprocess import Preprocess
from automm.space import OneOf, Space
from automm.types import Features, FeatureSpec, FieldSpec, Modality

NATIVE_LIMIT = 224  # the longer side of images taken at their own size
_SEEN = 256  # images whose size and colours are looked at
_MIDDLE, _RANGE = (128.0, 128.0, 128.0), (64.0, 64.0, 64.0)  # of channels that were not measured
_PIXEL_GAIN = 2.0  # an average over a cell varies about half as much as a pixel
_GRID = 10  # the longer side of the token grid that an automatic depth aims at


class ConvNet(Encoder):
    """Strided 3x3 convolutions, GroupNorm and ReLU; the grid that is left gives the tokens.

    GroupNorm, because the running statistics of a BatchNorm collapse at evaluation when few steps were trained. Pixels
    are standardised by the training images' channel means and deviations. `pooled` is a linear layer over the mean and
    the maximum of the tokens.

    Options:
        image_size: the square every image is resized to; None keeps the images' own (median) size up to 224.
        width: D, the width of tokens and of `pooled`.
        channels: of the first convolution; each further one has twice as many, up to `width`.
        depth: the number of convolutions, each of stride 2; None takes as many as bring the grid to at most 10 x 10.
        coordinates: give the first convolution x and y as two more channels (Liu et al. 2018, arXiv:1807.03247).
        hypercolumns: a token also holds the averages, over its cell of the image, of the pixels and of every layer
            before the last (Hariharan et al. 2015, arXiv:1411.5752), each layer with the same weight at the start:
            colours stay linear in it and are not outweighed, so that a word finds them epochs sooner.
        positions: add a learned position to every token; it starts as a linear map of x and y.
        slots: distil the grid into so many learned queries by cross-attention (Lee et al. 2019, arXiv:1810.00825);
            0 keeps the grid.
        context_layers: transformer layers over the tokens, run once an image however many rows share it.
        heads: attention heads of slots and context layers.
        dropout: in slots and context layers.
    """

    MODALITIES: ClassVar[tuple[Modality, ...]] = ("image",)
    SPACE: ClassVar[Space] = Space(
        {
            "width": OneOf((48, 64, 96, 128), ordered=True, default=64),
            "channels": OneOf((16, 24, 32), ordered=True, default=16),
        }
    )

    @classmethod
    def fit_preprocess(
        cls, field: FieldSpec, values: Sequence[Any], *, image_size: int | None = None, **options: Any
    ) -> Preprocess:
        """Resize to `image_size`, or to the median size of `values`; measure some images' channels."""
        size = native_size(values) if image_size is None else (image_size, image_size)
        pixels_UCHW = ImagePreprocess(size=size, resample="bilinear")([values[at] for at in _spread(len(values))])[
            "pixels"
        ]
        mean_C, deviation_C = pixels_UCHW.mean((0, 2, 3)), pixels_UCHW.std((0, 2, 3))
        return ImagePreprocess(
            size=size, resample="bilinear", mean=mean_C.round(3).tolist(), deviation=deviation_C.round(3).tolist()
        )

    def __init__(
        self,
        field: FieldSpec,
        preprocess: Preprocess,
        *,
        image_size: int | None = None,
        width: int = 64,
        channels: int = 16,
        depth: int | None = None,
        coordinates: bool = True,
        hypercolumns: bool = True,
        positions: bool = True,
        slots: int = 0,
        context_layers: int = 0,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % 8 or channels % 8:
            raise OutOfRange(f"the widths of a convnet are multiples of 8, not {width} and {channels}")
        grid = tuple(int(n) for n in preprocess.signature["pixels"].shape[1:])
        mean, deviation = getattr(preprocess, "mean", None) or _MIDDLE, getattr(preprocess, "deviation", None) or _RANGE
        self.mean_C11: Tensor
        self.deviation_C11: Tensor
        self.register_buffer("mean_C11", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation_C11", torch.tensor(deviation).clamp(min=1.0)[:, None, None], persistent=False)
        self.coordinates: Tensor | None
        self.register_buffer("coordinates", coordinate_channels(*grid) if coordinates else None, persistent=False)
        depth = automatic_depth(*grid) if depth is None else depth
        widths = [5 if coordinates else 3, *(min(width, channels * 2**at) for at in range(depth))]
        # channels last: a third less time for a step on a CPU
        self.convolutions = nn.Sequential(*(ConvStage(*pair) for pair in pairwise(widths)))
        self.convolutions.to(memory_format=torch.channels_last)
        grids = [grid]
        for _ in range(depth):
            grids.append(tuple((n + 1) // 2 for n in grids[-1]))
        tokens = grids[-1][0] * grids[-1][1]
        self.cells = nn.ModuleList(Cells(*sizes, *grids[-1]) for sizes in grids[:-1]) if hypercolumns else None
        columns = sum((3, *widths[1:])) if hypercolumns else widths[-1]
        self.project = nn.Linear(columns, width)
        if hypercolumns:
            start_even(self.project, (3, *widths[1:]))
        self.positions = nn.Parameter(starting_positions((grids[-1][0], grids[-1][1]), width)) if positions else None
        self.grid_norm = nn.LayerNorm(width) if slots else nn.Identity()
        self.slots = nn.Parameter(torch.randn(slots, width)) if slots else None
        self.distil = AttentionBlock(width, heads=heads, dropout=dropout) if slots else None
        self.context = nn.ModuleList(AttentionBlock(width, heads=heads, dropout=dropout) for _ in range(context_layers))
        self.norm = nn.LayerNorm(width)
        self.pool = nn.Sequential(nn.Linear(2 * width, width), nn.GELU())
        grid_hw = None if slots else (grids[-1][0], grids[-1][1])
        self.spec = FeatureSpec(field.name, "image", width, slots or tokens, has_tokens=True, grid=grid_hw)

    def forward(self, inputs: Mapping[str, Tensor]) -> Features:
        """`pixels` uint8 [U, 3, H, W] -> Features of U images."""
        x_UCHW = (inputs["pixels"].to(self.project.weight.dtype) - self.mean_C11) / self.deviation_C11
        if self.coordinates is not None:
            x_UCHW = torch.cat([x_UCHW, self.coordinates.expand(x_UCHW.shape[0], -1, -1, -1)], dim=1)
        x_UCHW = x_UCHW.contiguous(memory_format=torch.channels_last)
        x_UND = self.project(self._grid(x_UCHW).flatten(1, 2))
        if self.positions is not None:
            x_UND = x_UND + self.positions
        if self.slots is not None and self.distil is not None:
            x_UND = self.distil(self.slots.expand(x_UND.shape[0], -1, -1), context_UMD=self.grid_norm(x_UND))
        for block in self.context:
            x_UND = block(x_UND)
        x_UND = self.norm(x_UND)
        mask_UN = torch.ones_like(x_UND[..., 0], dtype=torch.bool)
        return Features(x_UND, mask_UN, self.pool(torch.cat([x_UND.mean(1), amax(x_UND, 1)], dim=-1)))

    def _grid(self, x_UCHW: Tensor) -> Tensor:
        """The last layer's maps, after averages of the pixels and the layers before it where tokens are hypercolumns.

        Returns:
            [U, h, w, channels]
        """
        if self.cells is None:
            grid_UCHW: Tensor = self.convolutions(x_UCHW)
            return grid_UCHW.permute(0, 2, 3, 1)
        columns = []
        for cells, stage in zip(self.cells, self.convolutions, strict=True):
            columns.append(cells(x_UCHW))
            x_UCHW = stage(x_UCHW)
        pixels_UhwC = columns[0][..., :3]  # without coordinates, which a cell has in common with that of every image
        return torch.cat([pixels_UhwC, *columns[1:], x_UCHW.permute(0, 2, 3, 1)], dim=-1)

    def layers(self) -> Sequence[nn.Module]:
        """The convolutions, then the context layers."""
        return [*self.convolutions, *self.context]


class ConvStage(nn.Sequential):
    """[U, C, H, W] -> [U, C', ceil(H / 2), ceil(W / 2)]."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(max(1, out // 8), out),
            nn.ReLU(inplace=True),
        )


class Cells(nn.Module):
    """Averages over the cells of an h x w grid: [U, C, H, W] -> [U, h, w, C].

    As adaptive average pooling, written as two products with constant matrices: where channels come last that takes a
    quarter less time on a CPU, and it exports for any grid.

    Args:
        height: of the maps, H.
        width: of the maps, W.
        h: cells in a column of the grid.
        w: cells in a row of the grid.
    """

    def __init__(self, height: int, width: int, h: int, w: int) -> None:
        super().__init__()
        self.rows_hH: Tensor
        self.columns_wW: Tensor
        self.register_buffer("rows_hH", cell_weights(height, h), persistent=False)
        self.register_buffer("columns_wW", cell_weights(width, w), persistent=False)

    def forward(self, x_UCHW: Tensor) -> Tensor:
        """[U, C, H, W] -> [U, h, w, C]."""
        rows_UhP = self.rows_hH @ x_UCHW.permute(0, 2, 3, 1).flatten(2)
        rows_UhWC = rows_UhP.unflatten(2, (x_UCHW.shape[3], x_UCHW.shape[1]))
        cells_UhwC: Tensor = self.columns_wW @ rows_UhWC
        return cells_UhwC


def start_even(project: nn.Linear, groups: Sequence[int]) -> None:
    """Initialise a linear layer so that each group of its inputs moves its outputs about as much.

    The first group are averages of standardised pixels, the others what GroupNorm and ReLU left of a layer.
    """
    gains = [_PIXEL_GAIN, *[1.0] * (len(groups) - 1)]
    with torch.no_grad():
        for part, gain in zip(project.weight.split(list(groups), dim=1), gains, strict=True):
            part.normal_(std=gain / math.sqrt(part.shape[1]))
        project.bias.zero_()


def starting_positions(grid: tuple[int, int], dim: int) -> Tensor:
    """A random linear map of a grid's x and y to `dim` numbers of about unit variance, [height * width, dim]."""
    places_N2 = coordinate_channels(*grid)[0].flatten(1).T
    return places_N2 @ torch.randn(2, dim)


def cell_weights(size: int, cells: int) -> Tensor:
    """What adaptive average pooling of `size` values to `cells` weighs each with, [cells, size]."""
    return F.adaptive_avg_pool1d(torch.eye(size)[None], cells)[0].T.contiguous()


def native_size(values: Sequence[Any], limit: int = NATIVE_LIMIT) -> tuple[int, int]:
    """The median (H, W) of some images spread over `values`, scaled down so that the longer side is at most `limit`."""
    if not len(values):
        return limit, limit
    seen = [image_size(values[at]) for at in _spread(len(values))]
    height, width = np.median(np.asarray(seen), axis=0)
    scale = min(1.0, limit / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _spread(count: int) -> list[int]:
    """Positions of at most so many items, spread over `count`."""
    return [] if count == 0 else np.unique(np.linspace(0, count - 1, _SEEN).astype(int)).tolist()


def automatic_depth(height: int, width: int) -> int:
    """The number of halvings that bring the longer side to at most 10."""
    longer, depth = max(height, width), 0
    while longer > _GRID:
        longer, depth = (longer + 1) // 2, depth + 1
    return max(1, depth)


def coordinate_channels(height: int, width: int) -> Tensor:
    """x and y from -1 to 1 as two channels, [1, 2, H, W]."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    return torch.stack([x, y])[None]
