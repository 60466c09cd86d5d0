"""Cross-attention between the tokens of fields.

Shape legend: B rows, U distinct items, N tokens of the reader, M tokens of the context, D width, L layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from automm.errors import OutOfRange
from automm.fusions.attention import Keys, ReadBlock, layer_share, masked_mean, with_summary
from automm.fusions.fusion import Fusion, expand
from automm.fusions.projection import CONTEXT, CONTEXT_LAYERS, DIM, DROPOUT, PerField, TokenProjection, focus, needs
from automm.fusions.sharing import Context
from automm.space import Int, OneOf, Space
from automm.types import Features, FeatureSpec, Stream

READERS = ("all", "others", "summary")


class CrossAttention(Fusion):
    """Every field reads the tokens of the others, layer by layer, in both directions, [B, width].

    Co-attention as in ViLBERT (Lu et al. 2019, arXiv:1908.02265) and LXMERT (Tan and Bansal 2019, arXiv:1908.07490):
    in a layer, each field's tokens and its pooled vector (the summary, one more token) query the tokens of all other
    fields as the layer before left them, then pass a feed-forward layer. Only summaries ask in the last layer. The
    stream holds every field's summary and the mean of the tokens that were changed, [B, dim * parts].

    `readers` trades the second direction for speed where a large field is shared by many rows (an image by its
    questions). `all` is the above. With `others` the field with the most to read (images before text, then the most
    tokens) asks nothing, so that its keys and values of every layer are made once per distinct item; with `summary`,
    moreover, only the other fields' summaries read it. What its own tokens say to each other is `context_layers`.

    Args:
        specs: what the encoders return, one a field, two fields or more; one of them with tokens.
        dim: width of the tokens.
        layers: layers of reading, L.
        context_layers: layers within an image or a sound before, once per distinct item.
        context: what those are: `attention`, or messages between `pairs` of tokens (see pairs.py).
        readers: who asks: `all`, `others` or `summary`.
        heads: attention heads; divides `dim`.
        positions: whether tokens get learned positions.
        dropout: in every layer.

    Raises:
        OutOfRange: `readers` is none of the three.
    """

    SPACE: ClassVar[Space] = Space(
        {
            "dim": DIM,
            "layers": Int(1, 6, default=2),
            "context_layers": CONTEXT_LAYERS,
            "context": CONTEXT,
            "readers": OneOf(READERS, default="all"),
            "dropout": DROPOUT,
        }
    )

    def __init__(
        self,
        specs: Sequence[FeatureSpec],
        *,
        dim: int = 64,
        layers: int = 2,
        context_layers: int = 1,
        context: Literal["attention", "pairs"] = "attention",
        readers: Literal["all", "others", "summary"] = "all",
        heads: int = 4,
        positions: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if readers not in READERS:
            raise OutOfRange(f"cross_attention cannot have readers={readers!r}. Next: one of {', '.join(READERS)}.")
        self.dim, self.layers, self.summary_only = dim, layers, readers == "summary"
        self.fields = tuple(spec.field for spec in specs)
        self.still = None if readers == "all" else focus(specs)  # the field that is read, and reads nothing
        self.reading = tuple(f for f in self.fields if f != self.still)
        self.project = PerField(
            specs,
            lambda s: TokenProjection(
                s, dim, layers=context_layers, context=context, heads=heads, dropout=dropout, positions=positions
            ),
        )
        # Keys belong to the field that is read: a still field's are all made in `prepare`, a changing one's as it goes.
        read = [s for s in specs if self.still in (None, s.field)]
        packs = [layers] if self.still else [1] * layers
        self.keys = PerField(read, lambda _: nn.ModuleList(Keys(dim, heads=heads, layers=pack) for pack in packs))
        asking = [s for s in specs if s.field != self.still]
        self.read = PerField(
            asking, lambda _: nn.ModuleList(ReadBlock(dim, heads=heads, dropout=dropout) for _ in range(layers))
        )
        self.changed = () if layers == 1 or self.summary_only else self.reading  # whose tokens a layer has changed
        width = dim * (len(self.fields) + len(self.changed))
        self.norm = nn.LayerNorm(width)
        self.widths = (width,)

    @classmethod
    def accepts(cls, specs: Sequence[FeatureSpec]) -> str | None:
        """Two fields or more, one of them with tokens: attention over a single key attends to nothing."""
        return needs(specs, fields=2, with_tokens=1, name="cross_attention")

    def prepare(self, field: str, features: Features) -> Features:
        """Tokens [U, N, D] with the first layer's keys and values beside them; of a still field, all layers' keys."""
        tokens_UND, mask_UN, pooled_UD = self.project[field](features)
        if self.still is None:
            tokens_UND = torch.cat([self.keys[field][0](tokens_UND), tokens_UND], dim=-1)
        elif field == self.still:
            tokens_UND = self.keys[field][0](tokens_UND)
        return Features(tokens_UND, mask_UN, pooled_UD)

    def fuse(self, features: Mapping[str, Features], rows: Mapping[str, Tensor]) -> tuple[Stream, ...]:
        """As `forward`, with the keys of a still item read together by all rows that share it."""
        if self.still is None:
            return super().fuse(features, rows)
        still, at = features[self.still], rows[self.still]
        expanded = {f: expand(features[f], rows[f], not self.summary_only) for f in self.reading}
        context = Context.shared(still.tokens_BND, still.mask_BN, at)
        return self._one_way(expanded, context, still.pooled_BD.index_select(0, at))

    def forward(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        """One stream [B, dim * parts]."""
        if self.still is None:
            return self._both_ways(features)
        still = features[self.still]
        return self._one_way(features, Context(still.tokens_BND, still.mask_BN), still.pooled_BD)

    def _one_way(self, features: Mapping[str, Features], context: Context, still_BD: Tensor) -> tuple[Stream, ...]:
        summaries, means = {self.still: still_BD}, []
        for f in self.reading:
            x_BND = features[f].pooled_BD[:, None] if self.summary_only else self._asking(features[f])
            for layer, block in enumerate(self.read[f]):
                if layer == self.layers - 1:
                    means += [masked_mean(x_BND[:, 1:], features[f].mask_BN)] if f in self.changed else []
                    x_BND = x_BND[:, :1]
                x_BND = context.read(block, x_BND, layer_share(layer, self.dim))
            summaries[f] = x_BND[:, 0]
        return self._stream([summaries[f] for f in self.fields], means)

    def _both_ways(self, features: Mapping[str, Features]) -> tuple[Stream, ...]:
        x = {f: self._asking(features[f]) for f in self.fields}
        keys = {f: features[f].tokens_BND[..., layer_share(0, self.dim)] for f in self.fields}
        for layer in range(self.layers - 1):
            x = {f: self._read_others(f, layer, x[f], keys, features) for f in self.fields}
            keys = {f: self.keys[f][layer + 1](x[f][:, 1:]) for f in self.fields}
        means = [masked_mean(x[f][:, 1:], features[f].mask_BN) for f in self.changed]
        summaries = [self._read_others(f, -1, x[f][:, :1], keys, features)[:, 0] for f in self.fields]
        return self._stream(summaries, means)

    def _asking(self, features: Features) -> Tensor:
        """The summary before the tokens, [B, 1 + N, D]."""
        return with_summary(features.pooled_BD, features.tokens_BND[..., -self.dim :], features.mask_BN)[0]

    def _read_others(
        self,
        field: str,
        layer: int,
        x_BND: Tensor,
        keys: Mapping[str, Tensor],
        features: Mapping[str, Features],
    ) -> Tensor:
        others = [f for f in self.fields if f != field]
        keys_BMP = torch.cat([keys[f] for f in others], dim=1)
        read_BND: Tensor = self.read[field][layer](
            x_BND, keys_BMP, torch.cat([features[f].mask_BN for f in others], dim=1)
        )
        return read_BND

    def _stream(self, summaries: Sequence[Tensor], means: Sequence[Tensor]) -> tuple[Stream, ...]:
        return (Stream(self.norm(torch.cat([*summaries, *means], dim=-1))),)
