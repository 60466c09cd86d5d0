import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from automm import registry
from automm.building import build_model, fit_preprocessors, incompatible
from automm.encoders.encoder import Encoder
from automm.errors import ConfigError, UnknownComponent, UnknownKey
from automm.fusions.fusion import Fusion
from automm.fusions.projection import VectorProjection
from automm.model import Absent, Model
from automm.registry import register
from automm.tasks.classification import Classification
from automm.types import Batch, Column, Features, FeatureSpec, FieldSpec, Schema, Stream, Table

SCHEMA = Schema((FieldSpec("type", "text"), FieldSpec("a.b", "text")))  # names no ModuleDict would take
TEXTS = ["one", "one two", "two three four"]
CANDIDATE = {
    "encoder.text.name": "text_transformer",
    "encoder.text.options.text_transformer.width": 8,
    "encoder.text.options.text_transformer.heads": 2,
    "fusion.name": "concat",
    "fusion.options.concat.hidden": 16,
    "training.solver": "gradient",
}
SPECS = [FeatureSpec(spec.name, "text", 8, 4, has_tokens=True) for spec in SCHEMA.inputs]


@pytest.fixture
def table():
    columns = {name: Column(TEXTS, np.array([0, 1, 2, 0, -1, 1])) for name in ("type", "a.b")}
    return Table(SCHEMA, columns, ["x", "y", "x", "y", "x", "y"], list(range(6)))


@pytest.fixture
def task(table):
    task = Classification()
    task.fit(table)
    return task


@pytest.fixture
def preprocessors(table):
    return fit_preprocessors(CANDIDATE, SCHEMA, table)


def batch_of(preprocessors, rows, present):
    """Rows as items they take, the same for both fields."""
    items = {f: {k: torch.from_numpy(a) for k, a in p(TEXTS).items()} for f, p in preprocessors.items()}
    at, there = torch.tensor(rows), torch.tensor(present)
    return Batch(items, {"type": at, "a.b": at}, {"type": there, "a.b": torch.ones(len(rows), dtype=torch.bool)})


def test_rows_that_share_an_item_get_what_they_would_get_alone(task, preprocessors):
    model = build_model(CANDIDATE, SCHEMA, task, preprocessors=preprocessors).eval()
    together = model(batch_of(preprocessors, [0, 2, 0, 1], [True, True, False, True]))
    for row, (at, there) in enumerate([(0, True), (2, True), (0, False), (1, True)]):
        alone = model(batch_of(preprocessors, [at], [there]))
        torch.testing.assert_close(together[row], alone[0])


def test_a_missing_item_counts_and_what_it_points_at_does_not(task, preprocessors):
    model = build_model(CANDIDATE, SCHEMA, task, preprocessors=preprocessors).eval()
    here, missing, elsewhere = (
        model(batch_of(preprocessors, [at], [there])) for at, there in ((0, True), (0, False), (2, False))
    )
    assert not torch.allclose(here, missing)
    assert not torch.allclose(missing, elsewhere)  # the other field is there, and differs
    torch.testing.assert_close(
        model(batch_of(preprocessors, [0, 0], [False, True]))[0], model(batch_of(preprocessors, [0], [False]))[0]
    )


def test_the_half_of_a_missing_field_is_zeros_where_a_fusion_says_so(task, preprocessors):
    candidate = {**CANDIDATE, "fusion.name": "towers", "fusion.options.towers.dim": 64}
    del candidate["fusion.options.concat.hidden"]
    model = build_model(candidate, SCHEMA, task, preprocessors=preprocessors).eval()
    (stream,) = model.streams(batch_of(preprocessors, [0, 1], [False, True]))
    assert stream.pooled_BD[0, :64].eq(0).all()
    torch.testing.assert_close(stream.pooled_BD.norm(dim=1), torch.tensor([1.0, 2.0]).sqrt())


def test_appending_the_missing_item_is_replacing_by_it():
    absent = Absent(4)
    features = Features(torch.randn(3, 5, 4), torch.rand(3, 5) > 0.5, torch.randn(3, 4))
    present_U = torch.tensor([True, False, True])
    appended, replaced = absent.append(features), absent.replace(features, present_U)
    at = torch.where(present_U, torch.arange(3), 3)
    for one, other in zip(appended, replaced, strict=True):
        torch.testing.assert_close(one[at], other)
    assert replaced.mask_BN[1].tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("fusion", ["concat", "towers"])
def test_the_exported_path_gives_the_same_numbers(fusion, task, preprocessors):
    candidate = {path: value for path, value in CANDIDATE.items() if not path.startswith("fusion.options")}
    candidate["fusion.name"] = fusion
    model = build_model(candidate, SCHEMA, task, preprocessors=preprocessors).eval()
    batch = batch_of(preprocessors, [0, 1, 2], [True, False, True])
    items = {f: model.encode_prepare(f, batch.inputs[f], batch.present[f]) for f in model.fields}
    torch.testing.assert_close(model.logits(model.fusion(items)), model(batch))


class _Encoder(Encoder):
    def __init__(self, name, width=2):
        super().__init__()
        self.spec = FeatureSpec(name, "text", width, 1, False)

    def forward(self, inputs):
        x_UD = inputs["x"]
        return Features(x_UD[:, None], torch.ones(len(x_UD), 1, dtype=torch.bool), x_UD)


class _TwoStreams(Fusion):
    widths = (2, 2)

    def forward(self, features):
        weight = torch.tensor([0.25])
        return Stream(features["a"].pooled_BD, weight), Stream(features["b"].pooled_BD)


class _Normed(Fusion):
    """A plugin's fusion with batch normalisation in `prepare`, which cannot do with a single item."""

    widths = (2,)

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def prepare(self, field, features):
        return Features.of_vector(self.norm(features.pooled_BD))

    def forward(self, features):
        return (Stream(features["a"].pooled_BD + features["b"].pooled_BD),)


def _lacking(rows, width):
    """Rows of two fields, the last of which lacks the first field."""
    inputs = {name: {"x": torch.randn(rows, width, dtype=torch.float64)} for name in "ab"}
    there = torch.ones(rows, dtype=torch.bool)
    present = {"a": there.index_fill(0, torch.tensor([rows - 1]), False), "b": there}
    return Batch(inputs, dict.fromkeys("ab", torch.arange(rows)), present)


def test_a_missing_item_is_normalised_with_its_batch():
    model = Model({"a": _Encoder("a"), "b": _Encoder("b")}, _Normed(), [nn.Identity()]).double().train()
    batch = _lacking(4, 2)
    x_UD = torch.cat([batch.inputs["a"]["x"], model.absent[0].pooled_W[None]])
    rows = torch.tensor([0, 1, 2, 4])
    norm = nn.BatchNorm1d(2).double()
    expected = norm(x_UD)[rows] + norm(batch.inputs["b"]["x"])
    torch.testing.assert_close(model(batch), expected)


@pytest.mark.parametrize("name", ["concat", "gated", "late", "mfb", "lmf"])
def test_nothing_is_worked_out_for_features_that_cannot_change(name):
    """No gradient of features, in the first layers; what stands for a missing item learns all the same."""
    torch.manual_seed(0)
    encoders = {field: _Encoder(field, 512) for field in "ab"}
    fusion = registry.get("fusion", name).factory([each.spec for each in encoders.values()])
    model = Model(encoders, fusion, [nn.Linear(width, 2) for width in fusion.widths]).double().train()
    batch = _lacking(64, 512)
    logits = model(batch)
    with FlopCounterMode(display=False) as backward:
        logits.square().sum().backward()
    learnt = {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
    assert learnt["absent.0.pooled_W"].abs().sum() > 0

    model.zero_grad()
    for tensors in batch.inputs.values():
        tensors["x"].requires_grad_()  # now everything is worked out, as for an encoder that is trained
    again = model(batch)
    with FlopCounterMode(display=False) as whole:
        again.square().sum().backward()
    first = [module.linear for module in fusion.modules() if isinstance(module, VectorProjection)]
    spared = sum(2 * 64 * linear.in_features * linear.out_features for linear in first)
    assert whole.get_total_flops() - backward.get_total_flops() >= spared
    torch.testing.assert_close(again, logits)
    for key, gradient in learnt.items():
        torch.testing.assert_close(model.get_parameter(key).grad, gradient, msg=key)


def test_logits_of_streams_are_summed_by_their_weights():
    model = Model({"a": _Encoder("a"), "b": _Encoder("b")}, _TwoStreams(), [nn.Identity(), nn.Identity()])
    inputs = {name: {"x": torch.randn(3, 2)} for name in "ab"}
    there = torch.ones(3, dtype=torch.bool)
    logits = model(Batch(inputs, dict.fromkeys("ab", torch.arange(3)), dict.fromkeys("ab", there)))
    torch.testing.assert_close(logits, 0.25 * inputs["a"]["x"] + inputs["b"]["x"])


def test_logits_are_divided_by_the_temperature_whatever_stands_for_the_encoders(task, preprocessors):
    model = build_model(CANDIDATE, SCHEMA, task, preprocessors=preprocessors).eval()
    batch = batch_of(preprocessors, [0, 1], [True, True])
    plain = model(batch)
    model.temperature.fill_(2.5)
    torch.testing.assert_close(model(batch), plain / 2.5)
    torch.testing.assert_close(model.with_encoders({"type": model.encoders[0]})(batch), plain / 2.5)


def test_a_frozen_encoder_stays_in_evaluation_mode(task, preprocessors):
    model = build_model(CANDIDATE, SCHEMA, task, preprocessors=preprocessors)
    model.encoders[0].requires_grad_(False)
    model.train()
    assert [encoder.training for encoder in model.encoders] == [False, True]
    assert model.fusion.training


def test_the_seed_decides_the_weights_and_torch_is_left_alone(task, preprocessors):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one, same, other = (
        build_model(CANDIDATE, SCHEMA, task, preprocessors=preprocessors, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert incompatible(CANDIDATE, SPECS) is None
    assert torch.equal(torch.rand(2), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["heads.0.0.weight"], other["heads.0.0.weight"])


def test_preprocessing_is_fitted_on_values_that_training_rows_have(table):
    unused = dataclasses.replace(
        table, columns={n: Column([*TEXTS, "zebra"], c.index) for n, c in table.columns.items()}
    )
    vocabulary = fit_preprocessors(CANDIDATE, SCHEMA, unused)["type"].tokenizer.get_vocab()
    assert "one" in vocabulary
    assert "zebra" not in vocabulary


def test_what_does_not_fit_is_refused(task, preprocessors):
    def build(**changes):
        return build_model({**CANDIDATE, **changes}, SCHEMA, task, preprocessors=preprocessors)

    with pytest.raises(UnknownKey, match="hiden"):
        build(**{"fusion.options.concat.hiden": 3})
    with pytest.raises(UnknownKey, match="withd"):
        build(**{"encoder.text.options.text_transformer.withd": 3})
    with pytest.raises(UnknownKey, match="leraning_rate"):
        build(**{"training.leraning_rate": 3})
    with pytest.raises(UnknownComponent, match="film"):
        build(**{"fusion.name": "filn"})
    with pytest.raises(ConfigError, match="that encoder reads image, and the field 'type' is text"):
        build(**{"encoder.text.name": "convnet"})
    with pytest.raises(UnknownKey, match=r"encoder\.text\.name"):
        build_model({"fusion.name": "concat"}, SCHEMA, task, preprocessors=preprocessors)


def test_fields_that_cannot_be_fused_are_refused_with_the_reason(task, preprocessors):
    @register("fusion", "picky")
    class Picky(Fusion):
        """Fuses nothing."""

        @classmethod
        def accepts(cls, specs):
            return f"it wants one field, not {len(specs)}"

    chosen = {**CANDIDATE, "fusion.name": "picky"}
    del chosen["fusion.options.concat.hidden"]
    assert incompatible(chosen, SPECS) == "fusion 'picky': it wants one field, not 2"
    with pytest.raises(ConfigError, match="it wants one field"):
        build_model(chosen, SCHEMA, task, preprocessors=preprocessors)


def test_options_that_do_not_go_together_are_refused_before_training():
    chosen = {"fusion.name": "cross_attention", "fusion.options.cross_attention.dim": 64}
    tokens = [dataclasses.replace(spec, tokens=4, has_tokens=True) for spec in SPECS]
    assert incompatible({**chosen, "fusion.options.cross_attention.heads": 8}, tokens) is None
    reason = incompatible({**chosen, "fusion.options.cross_attention.heads": 6}, tokens)
    assert reason.startswith("fusion 'cross_attention': attention of width 64 cannot be split into 6 heads.")


def test_a_model_is_exported_by_the_code_it_is_trained_with(task, preprocessors):
    """torch's exporter takes the path of `encode_prepare`, and that is seen in what it traces."""
    model = build_model(CANDIDATE, SCHEMA, task, preprocessors=preprocessors).eval()
    batch = batch_of(preprocessors, [0, 1, 2], [True, False, True])

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids, mask, there):
            items = {f: {"ids": ids, "mask": mask} for f in ("type", "a.b")}
            at = torch.arange(len(there))
            return self.model(Batch(items, dict.fromkeys(items, at), dict.fromkeys(items, there)))

    arguments = (*batch.inputs["type"].values(), batch.present["type"])
    program = torch.export.export(Flat(), arguments)
    torch.testing.assert_close(program.module()(*arguments), Flat()(*arguments))
