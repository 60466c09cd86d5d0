"""What fusions do with one field alone, in `prepare`: bring it to a common width, and let its tokens see each other.

Shape legend: U distinct items, N tokens, W an encoder's width, D the fusion's width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from automm.errors import OutOfRange
from automm.fusions.attention import SelfBlock, masked_mean, with_summary
from automm.fusions.pairs import PairBlock
from automm.space import Float, Int, OneOf
from automm.types import Features, FeatureSpec

HIDDEN = OneOf((64, 128, 256, 512, 1024), ordered=True, default=256)
DIM = OneOf((32, 64, 96, 128, 192, 256), ordered=True, default=64)
CONTEXT_LAYERS = Int(0, 4, default=1)
CONTEXTS = ("attention", "pairs")
CONTEXT = OneOf(CONTEXTS, default="attention")
DROPOUT = Float(0.0, 0.5, default=0.0)

_GRIDS = ("image", "audio")  # whose encoders may be convolutions: their tokens need not have seen each other
_RAW = ("numeric", "categorical")  # magnitudes carry meaning there: not normalised
_SPATIAL_FIRST = ("image", "audio", "text", "categorical", "numeric")

M = TypeVar("M", bound=nn.Module)


class PerField(nn.Module, Generic[M]):
    """One module a field, by the field's name, which unlike a ModuleDict's key may be any string."""

    def __init__(self, specs: Sequence[FeatureSpec], make: Callable[[FeatureSpec], M]) -> None:
        super().__init__()
        self._at = {spec.field: at for at, spec in enumerate(specs)}
        self._modules_in_order = nn.ModuleList(make(spec) for spec in specs)

    def __getitem__(self, field: str) -> M:
        return self._modules_in_order[self._at[field]]  # type: ignore[return-value]

    def __contains__(self, field: str) -> bool:
        return field in self._at

    def __len__(self) -> int:
        return len(self._at)


class VectorProjection(nn.Module):
    """A field's pooled vector, normalised and brought to `out`: [U, W] -> [U, out]."""

    def __init__(self, spec: FeatureSpec, out: int) -> None:
        super().__init__()
        self.norm = input_norm(spec)
        self.linear = nn.Linear(spec.width, out)

    def forward(self, pooled_UW: Tensor) -> Tensor:
        """[U, W] -> [U, out]."""
        fixed = torch.is_grad_enabled() and not pooled_UW.requires_grad
        out_UD: Tensor = self._of_fixed(pooled_UW) if fixed else self.linear(self.norm(pooled_UW))
        return out_UD

    def _of_fixed(self, pooled_UW: Tensor) -> Tensor:
        """The same function of vectors that nothing is learnt through, such as kept features.

        The norm's scale and shift go into the linear layer, W(g * x + b) = (W * g)x + Wb, so that backward has no need
        of the gradient of what lies between the two, a third of all the work of a layer this wide.
        """
        if not isinstance(self.norm, nn.LayerNorm):
            projected: Tensor = self.linear(self.norm(pooled_UW))
            return projected
        norm, weight_DW, bias_D = self.norm, self.linear.weight, self.linear.bias
        plain_UW = F.layer_norm(pooled_UW, norm.normalized_shape, eps=norm.eps)
        return F.linear(plain_UW, weight_DW * norm.weight, bias_D + weight_DW @ norm.bias)


class TokenProjection(nn.Module):
    """A field's tokens and pooled vector at one width D, with learned positions, after `layers` within the field.

    Those are transformer layers (`context="attention"`) or messages of pairs (`"pairs"`), between the tokens of an
    image or a sound: a text's have seen each other in its encoder. Where they tile an image, attention also knows how
    far apart two of them lie. Attention starts as the identity. With `summary`, the pooled vector takes part in
    attention as one more token, so that it may gather what it needs; without, the mean of the tokens stands for it. A
    field without tokens of its own has a single token: it gets neither position nor context.

    Raises:
        OutOfRange: `context` is neither of the two.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        dim: int,
        *,
        layers: int,
        heads: int,
        dropout: float,
        context: str = "attention",
        positions: bool = True,
        summary: bool = True,
    ) -> None:
        super().__init__()
        if context not in CONTEXTS:
            raise OutOfRange(f"context={context!r} is none of {', '.join(CONTEXTS)}.")
        self.norm = input_norm(spec)
        self.linear = nn.Linear(spec.width, dim)
        self.summary = VectorProjection(spec, dim) if summary else None
        self.position = nn.Parameter(torch.randn(spec.tokens, dim) * 0.02) if positions and spec.has_tokens else None
        blocks = layers if spec.has_tokens and spec.modality in _GRIDS else 0
        self.pairs = blocks > 0 and context == "pairs"
        self.blocks = nn.ModuleList(
            PairBlock(dim, dropout=dropout)
            if self.pairs
            else SelfBlock(dim, heads=heads, dropout=dropout, grid=spec.grid, identity=True)
            for _ in range(blocks)
        )

    def forward(self, features: Features) -> Features:
        """Features of width W -> Features of width D, same tokens and mask."""
        x_UND, mask_UN = self.linear(self.norm(features.tokens_BND)), features.mask_BN
        if self.position is not None:
            x_UND = x_UND + self.position[: x_UND.shape[1]]
        summary_UD = None if self.summary is None else self.summary(features.pooled_BD)
        if summary_UD is not None and not self.pairs:
            x_UND, mask_UN = with_summary(summary_UD, x_UND, mask_UN)
        for block in self.blocks:
            x_UND = block(x_UND, mask_UN)
        if summary_UD is None:
            return Features(x_UND, mask_UN, masked_mean(x_UND, mask_UN))
        if self.pairs:
            return Features(x_UND, mask_UN, summary_UD)
        return Features(x_UND[:, 1:], features.mask_BN, x_UND[:, 0])


def input_norm(spec: FeatureSpec) -> nn.Module:
    """LayerNorm for what a network made, nothing for numbers and categories, whose magnitude is their meaning."""
    return nn.Identity() if spec.modality in _RAW else nn.LayerNorm(spec.width)


def focus(specs: Sequence[FeatureSpec]) -> str:
    """The field that others modulate or read: with tokens before without, images first, then the most tokens."""
    best = min(
        enumerate(specs),
        key=lambda pair: (not pair[1].has_tokens, _SPATIAL_FIRST.index(pair[1].modality), -pair[1].tokens, pair[0]),
    )
    return best[1].field


def needs(specs: Sequence[FeatureSpec], *, fields: int = 1, with_tokens: int = 0, name: str) -> str | None:
    """Why `name` cannot fuse these fields, or None: it needs so many fields, so many of them with tokens."""
    if len(specs) < fields:
        return f"{name} needs {fields} or more input fields, and there are {len(specs)}."
    rich = [spec.field for spec in specs if spec.has_tokens]
    if len(rich) < with_tokens:
        return (
            f"{name} needs {with_tokens} or more fields whose encoder returns tokens, "
            f"and of {', '.join(s.field for s in specs)} only {', '.join(rich) or 'none'} has them."
        )
    return None
