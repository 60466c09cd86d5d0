"""The model of a candidate: encoders, what stands in for missing items, a fusion, a head a stream.

Shape legend: B rows, U distinct items of a field, N tokens, W an encoder's width, C outputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from automm import paths, registry
from automm.data.packed import Packed
from automm.encoders.encoder import Encoder
from automm.errors import AutommError, ConfigError, OutOfRange, TrialFailed, UnknownKey, near_miss
from automm.fusions.fusion import Fusion
from automm.registry import Component
from automm.runtime.preprocess import Preprocess
from automm.space import Candidate
from automm.tasks.task import Task
from automm.types import Batch, Features, FeatureSpec, FieldSpec, Mix, Schema, Stream, Table

if TYPE_CHECKING:
    from automm.training.solver import Solver

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
        with _blamed(f"the fusion {type(self.fusion).__name__}"):
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
        with _blamed(f"the encoder {type(self.encoders[at]).__name__} of {field!r}"):
            features = _encoded(self.encoders[at], batch.inputs[field])  # type: ignore[arg-type]
        known, lacking = len(features.pooled_BD), missing or not bool(present_B.all())
        if lacking:
            rows_B = torch.where(present_B, rows_B, known)
        with _blamed(f"the fusion {type(self.fusion).__name__} preparing {field!r}"):
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


def fit_preprocess(candidate: Candidate, spec: FieldSpec, train: Table) -> Preprocess:
    """The preprocessing of an input field, fitted on the training table's distinct values.

    Raises:
        ConfigError: the candidate names no encoder for its modality, or one that cannot read it.
        DataError: the values cannot be learnt from.
    """
    component, options = encoder_of(candidate, spec)
    column = train.columns[spec.name]
    used = np.unique(column.index[column.index >= 0])
    values = column.values.take(used) if isinstance(column.values, Packed) else [column.values[at] for at in used]
    fitted: Preprocess = component.factory.fit_preprocess(spec, values, **options)
    return fitted


def fit_preprocessors(candidate: Candidate, schema: Schema, train: Table) -> dict[str, Preprocess]:
    """That of every input field; raises as `fit_preprocess`."""
    return {spec.name: fit_preprocess(candidate, spec, train) for spec in schema.inputs}


def build_model(
    candidate: Candidate,
    schema: Schema,
    task: Task,
    *,
    preprocessors: Mapping[str, Preprocess],
    stand_ins: Mapping[str, Encoder] | None = None,
    seed: int = 0,
) -> Model:
    """The untrained model of a candidate. The same seed gives the same weights; torch's own generator is left alone.

    Args:
        candidate: says what to build.
        schema: its inputs are read.
        task: fitted.
        preprocessors: by field; of those that no stand-in reads.
        stand_ins: encoders to take as they are, by field, instead of what the candidate names.
        seed: of the initial weights.

    Raises:
        ConfigError: a component that does not fit, an unknown option, or fields that cannot be fused.
        TrialFailed: a component raised while it was built.
    """
    solver = build_solver(candidate)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders = {
            field.name: (stand_ins or {}).get(field.name) or build_encoder(candidate, field, preprocessors[field.name])
            for field in schema.inputs
        }
        specs = [encoder.spec for encoder in encoders.values()]
        component, options = _component("fusion", str(candidate["fusion.name"]), "fusion.options", candidate)
        reason = component.factory.accepts(specs)
        if reason is not None:
            raise ConfigError(
                f"fusion {component.name!r} cannot fuse these fields: {reason}. Next: choose another fusion."
            )
        with _blamed(f"the fusion {component.name!r}"):
            fusion = solver.fusion(component.factory(specs, **options), specs)
        return Model(encoders, fusion, [solver.head(task, width) for width in fusion.widths])


def build_solver(candidate: Candidate) -> Solver:
    """The solver of a candidate.

    Raises:
        ConfigError: no such solver, or an option it does not take.
    """
    given = {path.removeprefix("training."): value for path, value in candidate.items() if path.startswith("training.")}
    component = registry.get("solver", str(given.pop("solver", "gradient")))
    component.check_options(given)
    solver: Solver = component.factory(**given)
    return solver


def incompatible(candidate: Candidate, specs: Sequence[FeatureSpec]) -> str | None:
    """Why encoders that return these, the fusion and the solver do not go together; None when they do.

    Raises:
        TrialFailed: the fusion raised while it was built.
    """
    component, options = _component("fusion", str(candidate["fusion.name"]), "fusion.options", candidate)
    reason = build_solver(candidate).refuses(candidate) or component.factory.accepts(specs)
    if reason is None:
        try:
            with torch.random.fork_rng(devices=[]), _blamed(f"the fusion {component.name!r}"):
                component.factory(specs, **options)
        except OutOfRange as error:  # heads that do not divide a width, say
            reason = str(error)
    return reason if reason is None or component.name in reason else f"fusion {component.name!r}: {reason}"


def build_encoder(candidate: Candidate, spec: FieldSpec, preprocess: Preprocess) -> Encoder:
    """The candidate's encoder of a field, with its weights.

    Raises:
        ConfigError: the candidate names none that reads it, an unknown option, or weights that are not there.
        TrialFailed: it raised while it was built.
    """
    component, options = encoder_of(candidate, spec)
    with _blamed(f"the encoder {component.name!r} of {spec.name!r}"):
        encoder: Encoder = component.factory(spec, preprocess, **options)
    if "weights" in component.options:
        encoder.pretrained = options.get("weights", component.options["weights"].default) is not None
    return encoder


def encoder_of(candidate: Candidate, spec: FieldSpec) -> tuple[Component, dict[str, Any]]:
    """The encoder component of a field and its options.

    Raises:
        ConfigError: the candidate names no encoder for its modality, or one that cannot read it.
    """
    section = paths.section_of(spec, candidate)
    path = f"{section}.name"
    if path not in candidate:
        raise UnknownKey(
            f"the field {spec.name!r} is {spec.modality}, and no {path} says what encodes it. "
            f"{near_miss(path, (p for p in candidate if p.endswith('.name')))} Next: add encoder/{spec.modality}=NAME."
        )
    component, options = _component("encoder", str(candidate[path]), f"{section}.options", candidate)
    if spec.modality not in component.factory.MODALITIES:
        raise ConfigError(
            f"{path}={component.name}: that encoder reads {', '.join(component.factory.MODALITIES)}, and the field "
            f"{spec.name!r} is {spec.modality}. Next: choose another encoder, or set the field's modality."
        )
    return component, options


def _component(kind: str, name: str, prefix: str, candidate: Candidate) -> tuple[Component, dict[str, Any]]:
    """A component and what the candidate says about it under `<prefix>.<name>.`; unknown options raise UnknownKey."""
    component = registry.get(kind, name)
    start = f"{prefix}.{name}."
    options = {path.removeprefix(start): value for path, value in candidate.items() if path.startswith(start)}
    component.check_options(options)
    return component, options


@contextmanager
def _blamed(who: str) -> Iterator[None]:
    """Whatever a component raises becomes TrialFailed naming it; errors meant for users and memory running out pass."""
    try:
        yield
    except (AutommError, TrialFailed, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise TrialFailed(f"{who} raised {type(error).__name__}: {error}") from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch's CPU allocator raises a plain RuntimeError."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
