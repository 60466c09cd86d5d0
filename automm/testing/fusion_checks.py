"""What every fusion must keep.

Shape legend: B rows, U distinct items, N tokens, W an encoder's width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from automm.fusions.fusion import Fusion, expand
from automm.testing import samples
from automm.testing.onnx_parity import require_same_in_onnx
from automm.testing.requirement import require
from automm.testing.subject import Subject
from automm.types import Features, FeatureSpec, Stream

_CLOSE = 1e-4


def check_accepts(under_test: Subject) -> None:
    """`accepts` answers None or a sentence; some ordinary set of fields is accepted, an empty one is not."""
    accepted = []
    for case, specs in samples.FIELDS.items():
        reason = under_test.factory.accepts(specs)
        require(
            reason is None or (isinstance(reason, str) and reason.strip() != ""), f"{case}: accepts gave {reason!r}"
        )
        accepted += [case] if reason is None else []
    require(bool(accepted), f"it accepts none of: {'; '.join(samples.FIELDS)}")
    require(under_test.factory.accepts(()) is not None, "it accepts a table without input fields")


def check_streams(under_test: Subject) -> None:
    """As many streams as `widths` declares, each [B, width] and finite, with a weight of one or of B numbers."""
    for what, fusion, specs in _built(under_test):
        require(isinstance(fusion, Fusion), f"{what}: it is no automm Fusion")
        for count in (1, 3):
            streams = _run(fusion, samples.features(specs, count))
            require(isinstance(streams, tuple), f"{what}: forward returns {type(streams).__name__}, not a tuple")
            require(len(streams) == len(fusion.widths), f"{what}: {len(streams)} streams, widths is {fusion.widths}")
            for stream, width in zip(streams, fusion.widths, strict=True):
                shape = tuple(stream.pooled_BD.shape)
                require(shape == (count, width), f"{what}: a stream is {shape}, not {(count, width)}")
                require(bool(torch.isfinite(stream.pooled_BD).all()), f"{what}: a stream is not finite")
                weight = stream.weight_B
                require(weight is None or tuple(weight.shape) in ((1,), (count,)), f"{what}: a weight is no [B] or [1]")


def check_rows_are_independent(under_test: Subject) -> None:
    """In evaluation mode, what a row gives does not depend on the rows beside it."""
    for what, fusion, specs in _built(under_test):
        items = samples.features(specs, 3)
        together = _outputs(fusion, items)
        for row in range(3):
            alone = _outputs(fusion, {f: Features(*(t[row : row + 1] for t in x)) for f, x in items.items()})
            _require_close(alone, [t[row : row + 1] for t in together], f"{what}: a row changes with those beside it")


def check_masks_are_honoured(under_test: Subject) -> None:
    """Neither the content nor the number of padding tokens changes anything."""
    for what, fusion, specs in _built(under_test):
        items = samples.features(specs, 3)
        expected = _outputs(fusion, items)
        for spec in specs:
            for change, altered in _padded_otherwise(spec, items[spec.field]):
                found = _outputs(fusion, {**items, spec.field: altered})
                _require_close(found, expected, f"{what}: {change} of {spec.field!r} changes the output")


def check_every_field_matters(under_test: Subject) -> None:
    """A gradient reaches the features of every field, and every parameter's gradient is finite."""
    for what, fusion, specs in _built(under_test):
        items = {
            f: Features(x.tokens_BND.clone().requires_grad_(), x.mask_BN, x.pooled_BD.clone().requires_grad_())
            for f, x in samples.features(specs, 3).items()
        }
        random = torch.Generator().manual_seed(1)
        out = [s.pooled_BD if s.weight_B is None else s.pooled_BD * s.weight_B[:, None] for s in _run(fusion, items)]
        torch.stack([(x * torch.randn(x.shape, generator=random)).sum() for x in out]).sum().backward()
        for field, x in items.items():
            reached = [t.grad for t in (x.tokens_BND, x.pooled_BD) if t.grad is not None and t.grad.abs().sum() > 0]
            require(bool(reached), f"{what}: no gradient reaches {field!r}")
        for name, parameter in fusion.named_parameters():
            finite = parameter.grad is None or bool(torch.isfinite(parameter.grad).all())
            require(finite, f"{what}: the gradient of {name} is not finite")


def check_is_seeded(under_test: Subject) -> None:
    """The same seed builds the same parameters, and two evaluations give the same numbers."""
    for (what, left, specs), (_, right, _) in zip(_built(under_test), _built(under_test), strict=True):
        for (name, a), b in zip(left.state_dict().items(), right.state_dict().values(), strict=True):
            require(torch.equal(a, b), f"{what}: {name} differs between two builds from one seed")
        items = samples.features(specs, 3)
        _require_close(_outputs(left, items), _outputs(right, items), f"{what}: two evaluations differ")


def check_fuse_is_forward(under_test: Subject) -> None:
    """`fuse` of items and rows gives what `forward` gives once every row has its own copy of its items."""
    for what, fusion, specs in _built(under_test):
        for rows_of in ((0, 0, 0, 1, 2, 2, 0), (2, 0, 1, 2, 1, 0)):
            for at_random in (False, True):
                random = torch.Generator().manual_seed(2)
                rows = {
                    s.field: torch.randint(3, (len(rows_of),), generator=random) if at_random else torch.tensor(rows_of)
                    for s in specs
                }
                with torch.no_grad():
                    prepared = {f: fusion.prepare(f, x) for f, x in samples.features(specs, 3).items()}
                    shared = _flat(fusion.fuse(prepared, rows))
                    copied = _flat(fusion({f: expand(prepared[f], rows[f]) for f in prepared}))
                _require_close(shared, copied, f"{what}: fuse and forward differ")


def check_exports(under_test: Subject) -> None:
    """The same function in ONNX Runtime, at batches (one row too) and text lengths it was not exported at."""
    specs = next(s for s in samples.FIELDS.values() if under_test.factory.accepts(s) is None)
    torch.manual_seed(0)
    require_exports(under_test.build(specs, **under_test.smallest()).eval(), specs)


def require_exports(fusion: Fusion, specs: Sequence[FeatureSpec]) -> None:
    """`prepare` and `forward` of a built fusion as one graph: the same function in ONNX Runtime.

    Raises:
        ContractBroken: torch cannot export it, or an output differs.
    """
    axes: dict[str, dict[int, str]] = {}
    for spec in specs:
        per_token = {0: "batch"} | ({1: f"{spec.field}_tokens"} if spec.modality == "text" else {})
        axes |= dict(zip(_names(spec), (per_token, per_token, {0: "batch"}), strict=True))
    others = [_named(specs, samples.features(specs, b, seed=b, texts=n)) for b, n in ((1, 3), (2, 8), (1, 1))]
    require_same_in_onnx(_Flat(fusion, specs), _named(specs, samples.features(specs, 3)), axes, others)


CHECKS = (
    check_accepts,
    check_streams,
    check_rows_are_independent,
    check_masks_are_honoured,
    check_every_field_matters,
    check_is_seeded,
    check_fuse_is_forward,
    check_exports,
)


class _Flat(nn.Module):
    """A fusion from flat tensors to flat tensors: `prepare` and `forward` in one graph."""

    def __init__(self, fusion: Fusion, specs: Sequence[FeatureSpec]) -> None:
        super().__init__()
        self.fusion = fusion
        self.specs = tuple(specs)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Three tensors a field -> every stream and every weight."""
        items = {s.field: Features(*tensors[3 * at : 3 * at + 3]) for at, s in enumerate(self.specs)}
        return tuple(_flat(_run(self.fusion, items)))


def _built(under_test: Subject) -> Iterator[tuple[str, Fusion, Sequence[FeatureSpec]]]:
    """The fusion in evaluation mode, for every set of fields it accepts and every variant of its options."""
    for case, specs in samples.FIELDS.items():
        if under_test.factory.accepts(specs) is None:
            for options in under_test.variants():
                torch.manual_seed(0)
                yield f"{case}, {options}", under_test.build(specs, **options).eval(), specs


def _run(fusion: Fusion, items: Mapping[str, Features]) -> tuple[Stream, ...]:
    streams: tuple[Stream, ...] = fusion({f: fusion.prepare(f, x) for f, x in items.items()})
    return streams


def _outputs(fusion: Fusion, items: Mapping[str, Features]) -> list[Tensor]:
    with torch.no_grad():
        return _flat(_run(fusion, items))


def _flat(streams: Sequence[Stream]) -> list[Tensor]:
    """Every stream, and every weight as one number a row."""
    out = []
    for pooled_BD, weight in streams:
        out += [pooled_BD] if weight is None else [pooled_BD, weight.expand(pooled_BD.shape[0])]
    return out


def _padded_otherwise(spec: FeatureSpec, x: Features) -> Iterator[tuple[str, Features]]:
    """The same features with other numbers where the mask is False, and with more padding where there is room."""
    noise_BNW = 100 * torch.randn(x.tokens_BND.shape, generator=torch.Generator().manual_seed(3))
    valid_BN1 = x.mask_BN[..., None]
    yield "what stands in the padding", x._replace(tokens_BND=torch.where(valid_BN1, x.tokens_BND, noise_BNW))
    room = spec.tokens - x.tokens_BND.shape[1]
    if room > 0:
        more_BNW, none_BN = noise_BNW[:, :1].expand(-1, room, -1), torch.zeros(len(noise_BNW), room, dtype=torch.bool)
        yield (
            "more padding",
            Features(torch.cat([x.tokens_BND, more_BNW], 1), torch.cat([x.mask_BN, none_BN], 1), x.pooled_BD),
        )


def _require_close(found: Sequence[Tensor], expected: Sequence[Tensor], message: str) -> None:
    for left, right in zip(found, expected, strict=True):
        gap = float((left - right).abs().max())
        require(gap <= _CLOSE, f"{message}, by {gap:.1e}")


def _names(spec: FeatureSpec) -> tuple[str, str, str]:
    return f"{spec.field}.tokens", f"{spec.field}.mask", f"{spec.field}.pooled"


def _named(specs: Sequence[FeatureSpec], items: Mapping[str, Features]) -> dict[str, Tensor]:
    return {name: t for s in specs for name, t in zip(_names(s), items[s.field], strict=True)}
