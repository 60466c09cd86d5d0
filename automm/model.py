"""The model of a candidate: encoders, what stands in for missing items, a fusion, a head a stream.

Shape legend: B rows, U distinct items of a field, N tokens, W an encoder's width, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from automm.blame import blamed
from automm.encoders.encoder import Encoder
from automm.fusions.fusion import Fusion
from automm.tasks.task import Task
from automm.types import Batch, Features, FeatureSpec, Mix, Stream

_AT_ONCE = 128  # items of a pretrained encoder that nothing is learnt from


class Absent(nn.Module):
    """What stands in for a missing item of a field: one learned, valid token [W] and a pooled vector [W]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token_W = nn.Parameter(torch.randn(width) * 0.02)
        self.pooled_W = nn.Parameter(torch.randn(width) * 0.02)

    def append(self, features: Features) -> Features:
        """Features of U items -> of U + 1; the last is the missing item."""
        return _joined(features, self.alone(features))

    def alone(self, features: Features) -> Features:
        """The missing item beside `features`, by itself: one item of as many tokens."""
        first_N, token_ND = self._like(features)
        return Features(token_ND[None], first_N[None], self.pooled_W.to(features.pooled_BD)[None])

    def replace(self, features: Features, present_U: Tensor) -> Features:
        """Features of U items -> the same, with the missing item wherever `present_U` is False."""
        first_N, token_ND = self._like(features)
        return Features(
            torch.where(present_U[:, None, None], features.tokens_BND, token_ND),
            torch.where(present_U[:, None], features.mask_BN, first_N),
            torch.where(present_U[:, None], features.pooled_BD, self.pooled_W.to(features.pooled_BD)),
        )

    def _like(self, features: Features) -> tuple[Tensor, Tensor]:
        """The mask [N] and the tokens [N, W] of a missing item beside `features`: only the first token is valid."""
        first_N = torch.arange(features.mask_BN.shape[1], device=features.mask_BN.device) == 0
        return first_N, first_N[:, None].to(features.tokens_BND) * self.token_W.to(features.tokens_BND)


class Model(nn.Module):
    """Encoders, a fusion and a head for each of its streams; it is handed all three and builds none.

    Its logits are divided by `temperature`, which is 1 until a trained model is calibrated.

    Args:
        encoders: by field, in the order of the schema.
        fusion: built for these encoders' specs.
        heads: one a stream, [B, width of the stream] -> [B, C].
    """

    temperature: Tensor

    def __init__(self, encoders: Mapping[str, Encoder], fusion: Fusion, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.fields = tuple(encoders)
        self.encoders = nn.ModuleList(encoders.values())  # by position: a field may be called anything
        self.absent = nn.ModuleList(Absent(encoder.spec.width) for encoder in encoders.values())
        self.fusion = fusion
        self.heads = nn.ModuleList(heads)
        self.register_buffer("temperature", torch.ones(()))
        self._at = {field: at for at, field in enumerate(self.fields)}
        batch_norm = nn.modules.batchnorm._BatchNorm  # what else is in a batch makes a difference to it
        self._one_by_one = not any(isinstance(module, batch_norm) for module in fusion.modules())

    @property
    def specs(self) -> tuple[FeatureSpec, ...]:
        """What the encoders return, in order."""
        return tuple(encoder.spec for encoder in self.encoders)  # type: ignore[misc]

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the streams that the heads read."""
        return self.fusion.widths

    @property
    def branches(self) -> dict[str, list[nn.Parameter]]:
        """The parameters of each part by the name reports call it: `encoder.<field>`, `fusion`, `head`.

        What stands in for missing items is in none of them: where nothing is missing it has no gradient to watch.
        """
        parts = {f"encoder.{field}": list(self.encoders[at].parameters()) for field, at in self._at.items()}
        return {**parts, "fusion": list(self.fusion.parameters()), "head": list(self.heads.parameters())}

    def with_encoders(self, encoders: Mapping[str, Encoder]) -> Model:
        """A model that shares all but these encoders with this one, whose features must have the same widths."""
        own: dict[str, Encoder] = dict(zip(self.fields, self.encoders, strict=True))  # type: ignore[arg-type]
        out = Model(
            {field: encoders.get(field, encoder) for field, encoder in own.items()}, self.fusion, list(self.heads)
        )
        out.absent, out.temperature = self.absent, self.temperature
        return out.train(self.training)

    def train(self, mode: bool = True) -> Model:
        """Training mode; an encoder without trainable parameters is a fixed function and stays in evaluation mode."""
        super().train(mode)
        for encoder in self.encoders:
            if not any(p.requires_grad for p in encoder.parameters()):
                encoder.eval()
        return self

    def forward(self, batch: Batch, mix: Mix | None = None) -> Tensor:
        """Rows -> logits [B, C]. Each distinct item is encoded once, however many rows take it.

        Args:
            batch: the rows.
            mix: how what the heads read is mixed; None leaves every row alone.

        Raises:
            TrialFailed: a component raised; the reason names it.
        """
        if torch.compiler.is_exporting():
            items = {f: self.encode_prepare(f, batch.inputs[f], batch.present[f]) for f in self.fields}
            return self.logits(self.fusion(items))  # rows are identity in an exported graph
        streams = self.streams(batch)
        return self.logits(streams if mix is None else [_mixed(stream, mix) for stream in streams])

    def probabilities(self, batch: Batch, task: Task) -> Tensor:
        """Rows -> what the logits mean to the task, [B, C]."""
        return task.probabilities(self(batch))

    def streams(self, batch: Batch) -> tuple[Stream, ...]:
        """Rows -> what the heads read.

        Raises:
            TrialFailed: a component raised; the reason names it.
        """
        return self.fuse(*self.items(batch))

    def items(self, batch: Batch, *, missing: bool = False) -> tuple[dict[str, Features], dict[str, Tensor]]:
        """Each field's distinct items, prepared for the fusion, and the item each row takes.

        The missing item comes last wherever a row lacks the field, and everywhere if `missing`.

        Raises:
            TrialFailed: a component raised; the reason names it.
        """
        features, rows = {}, {}
        for field in self.fields:
            features[field], rows[field] = self._items(field, batch, missing)
        return features, rows

    def fuse(self, items: Mapping[str, Features], rows: Mapping[str, Tensor]) -> tuple[Stream, ...]:
        """What `items` returns -> what the heads read.

        Raises:
            TrialFailed: the fusion raised.
        """
        with blamed(f"the fusion {type(self.fusion).__name__}"):
            return self.fusion.fuse(items, rows)

    def encode_prepare(self, field: str, inputs: Mapping[str, Tensor], present_U: Tensor) -> Features:
        """A field's items, missing ones replaced, after the fusion's own work on that field alone."""
        at = self._at[field]
        encoded: Features = self.encoders[at](inputs)
        return self._prepare(field, self.absent[at].replace(encoded, present_U), present_U)  # type: ignore[operator]

    def logits(self, streams: Sequence[Stream]) -> Tensor:
        """The heads' logits [B, C], summed by the streams' weights, at the model's temperature."""
        total: Tensor | None = None
        for stream, head in zip(streams, self.heads, strict=True):
            logits_BC = head(stream.pooled_BD)
            if stream.weight_B is not None:
                logits_BC = logits_BC * stream.weight_B[:, None]
            total = logits_BC if total is None else total + logits_BC
        assert total is not None  # a fusion has a stream
        return total / self.temperature

    def _items(self, field: str, batch: Batch, missing: bool) -> tuple[Features, Tensor]:
        """Prepared features of a field's items, and the item each row takes."""
        at, rows_B, present_B = self._at[field], batch.rows[field], batch.present[field]
        with blamed(f"the encoder {type(self.encoders[at]).__name__} of {field!r}"):
            features = _encoded(self.encoders[at], batch.inputs[field])  # type: ignore[arg-type]
        known, lacking = len(features.pooled_BD), missing or not bool(present_B.all())
        if lacking:
            rows_B = torch.where(present_B, rows_B, known)
        with blamed(f"the fusion {type(self.fusion).__name__} preparing {field!r}"):
            return self._prepared(field, features, lacking), rows_B

    def _prepared(self, field: str, features: Features, lacking: bool) -> Features:
        """The fusion's own work on a field's items, the missing one last where it is `lacking`.

        Beside features of a frozen encoder the missing item, which is learnt, goes by itself: together with it backward
        would work out a gradient of every one of them, which takes as long as that of the weights.
        """
        absent: Absent = self.absent[self._at[field]]  # type: ignore[assignment]
        here_U = torch.ones(len(features.pooled_BD), dtype=torch.bool, device=features.pooled_BD.device)
        if not lacking:
            return self._prepare(field, features, here_U)
        if self._one_by_one and torch.is_grad_enabled() and not features.pooled_BD.requires_grad:
            alone = self._prepare(field, absent.alone(features), ~here_U[:1])
            return _joined(self._prepare(field, features, here_U), alone)
        return self._prepare(field, absent.append(features), torch.cat([here_U, ~here_U[:1]]))

    def _prepare(self, field: str, features: Features, present_U: Tensor) -> Features:
        """The fusion's own work on a field's items, of which some stand for a missing one."""
        prepared = self.fusion.prepare(field, features)
        if not self.fusion.SIDE_BY_SIDE:
            return prepared
        return prepared._replace(pooled_BD=prepared.pooled_BD * present_U[:, None])


def _encoded(encoder: Encoder, inputs: Mapping[str, Tensor]) -> Features:
    """What an encoder returns; a pretrained one that is not trained gets few items at a time, for its layers may take
    tens of megabytes an item."""
    items = len(next(iter(inputs.values())))
    learning = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in encoder.parameters())
    if learning or not encoder.pretrained or items <= _AT_ONCE:
        whole: Features = encoder(inputs)
        return whole
    starts = range(0, items, _AT_ONCE)
    parts = [encoder({key: value[start : start + _AT_ONCE] for key, value in inputs.items()}) for start in starts]
    return Features(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _joined(one: Features, other: Features) -> Features:
    """The items of both, which have as many tokens."""
    return Features(*(torch.cat(pair) for pair in zip(one, other, strict=True)))


def _mixed(stream: Stream, mix: Mix) -> Stream:
    weight_B = stream.weight_B
    if weight_B is not None and len(weight_B) > 1:  # each row has its own
        weight_B = mix.of(weight_B)
    return Stream(mix.of(stream.pooled_BD), weight_B)
