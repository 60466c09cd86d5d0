"""Frozen encoders are read through the cache: computed once, equal to what they return, given back at the end."""

import dataclasses
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from automm.building import build_encoder, encoder_of, fit_preprocess
from automm.config import compose, to_settings
from automm.data.features import FeatureCache
from automm.encoders import transformers
from automm.encoders.precomputed import Precomputed
from automm.encoders.transformers import Transformers
from automm.export.checkpoint import load_model
from automm.flow import run
from automm.runtime import Predictor
from automm.tasks.classification import Classification
from automm.training import frozen, loop
from automm.training.augment import View
from automm.training.objective import TrainingObjective
from automm.types import Column, FieldSpec, Schema, Splits, Table

SCHEMA = Schema((FieldSpec("title", "text"), FieldSpec("more", "text")))


def table(seed):
    rng = np.random.default_rng(seed)
    words = [f"the {w} number {n}" for n in range(6) for w in ("cat", "dog")]
    columns = {name: Column(words, rng.integers(-1, len(words), 40)) for name in ("title", "more")}
    return Table(SCHEMA, columns, ["cat" if i % 2 else "dog" for i in range(40)], list(range(40)))


@pytest.fixture
def candidate(tiny_bert):
    return {
        "encoder.text.name": "transformers",
        "encoder.text.options.transformers.weights": f"local-dir:{tiny_bert}",
        "encoder.text.options.transformers.tune": "frozen",
        "fusion.name": "concat",
        "training.solver": "gradient",
        "training.batch_size": 8,
    }


@pytest.fixture
def objective(tmp_path):
    def make(of=table, **changes):
        asked = ["+task=classification", "data.train=none.csv", "data.target=y", f"cache_dir={tmp_path / 'cache'}"]
        settings = dataclasses.replace(to_settings(compose(asked), tmp_path), **changes)
        train, task = of(0), Classification()
        task.fit(train)
        return TrainingObjective(settings, Splits(train, of(1)), task, tmp_path / "trials")

    return make


def fit(objective, candidate, tmp_path, stop=1):
    return objective.fit(
        candidate, start=0, stop=stop, resume=None, save_to=tmp_path / "state.safetensors", report=lambda *_: None
    )


def built(monkeypatch):
    """How often the encoder is built from now on."""
    times = []
    original = transformers.create
    monkeypatch.setattr(transformers, "create", lambda *asked: (times.append(1), original(*asked))[1])
    return times


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_features_are_computed_once_and_no_encoder_is_needed_afterwards(
    objective, candidate, tmp_path, monkeypatch, fusion
):
    chosen = {**candidate, "fusion.name": fusion}
    first = fit(objective(), chosen, tmp_path)
    times = built(monkeypatch)
    later = objective()
    assert later.check(chosen) is None
    again = fit(later, {**chosen, "training.lr": 1e-2}, tmp_path)
    assert not times
    assert all(isinstance(encoder, Precomputed) for encoder in again.model.encoders)
    assert fit(objective(), chosen, tmp_path).result.values == first.result.values


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_the_whole_model_scores_as_its_features_do(objective, candidate, tmp_path, fusion):
    chosen = {**candidate, "fusion.name": fusion}
    made, plain = objective(), objective(cache_bytes=0)
    fitted = fit(made, chosen, tmp_path)
    model, preprocessors = made.whole(fitted, chosen)
    assert all(isinstance(encoder, Transformers) for encoder in model.encoders)
    cached = made.scores(model, chosen, table(2), preprocessors)
    np.testing.assert_allclose(cached, plain.scores(model, chosen, table(2), preprocessors), atol=1e-5)
    assert any(isinstance(e, Transformers) for e in fit(plain, chosen, tmp_path).model.encoders), "nothing was kept"


def test_more_blocks_than_there_are_is_a_reason_not_to_run(objective, candidate):
    prefix = "encoder.text.options.transformers"
    chosen = {**candidate, f"{prefix}.tune": "last_k", f"{prefix}.last_k": 4}
    assert "last_k=4 is not allowed" in objective().check(chosen)
    assert objective().check({**chosen, f"{prefix}.last_k": 1}) is None


def test_a_column_of_its_own_is_read_by_its_own_encoder(objective, candidate, tmp_path):
    """Of two trials of one objective: what was read for the first must not stand for the second."""
    own = {path.replace("encoder.text", "encoder.fields.more"): value for path, value in candidate.items()}
    made, results = objective(), []
    for pooling in ("mean", "cls"):
        chosen = {**candidate, **own, "encoder.fields.more.options.transformers.pooling": pooling}
        fitted = fit(made, chosen, tmp_path)
        assert all(isinstance(encoder, Precomputed) for encoder in fitted.model.encoders)
        assert fitted.result.values == fit(objective(), chosen, tmp_path).result.values
        results.append(fitted.result.values)
    assert results[0] != results[1]
    assert len(list((tmp_path / "cache" / "features").glob("*/shelf.json"))) == 2


def test_other_weights_are_another_function(objective, candidate, tmp_path, tiny_bert):
    names = {}
    for copy in ("one", "two", "changed"):
        folder = tmp_path / copy
        shutil.copytree(tiny_bert, folder)
        if copy == "changed":
            path = next(folder.glob("*.safetensors"))
            raw = bytearray(path.read_bytes())
            raw[-1] ^= 1
            path.write_bytes(raw)
        names[copy] = Transformers.identity(weights=f"local-dir:{folder}")
    assert names["one"] == names["two"]
    assert names["one"] != names["changed"]
    assert Transformers.identity(weights=f"local-dir:{tiny_bert}", pooling="cls") != names["one"]
    assert Transformers.identity(weights=f"local-dir:{tiny_bert}", tune="last_k") is None
    assert Transformers.identity(model=str(tiny_bert), weights=None) is None, "random weights are another every seed"


def test_an_encoder_that_is_tuned_reads_raw_values(objective, candidate, tmp_path):
    chosen = {**candidate, "encoder.text.options.transformers.tune": "full"}
    fitted = fit(objective(), chosen, tmp_path)
    assert all(isinstance(encoder, Transformers) and encoder.pretrained for encoder in fitted.model.encoders)
    weights = chosen.pop("encoder.text.options.transformers.weights").removeprefix("local-dir:")
    random = {"encoder.text.options.transformers.model": weights, "encoder.text.options.transformers.weights": None}
    fitted = fit(objective(), {**chosen, **random}, tmp_path)
    assert not any(encoder.pretrained for encoder in fitted.model.encoders)


def pictures(seed):
    rng = np.random.default_rng(seed)
    values = list(rng.integers(0, 256, (8, 16, 16, 3), dtype=np.uint8))
    schema = Schema((FieldSpec("picture", "image"),))
    return Table(schema, {"picture": Column(values, np.arange(8))}, ["cat", "dog"] * 4, list(range(8)))


@pytest.fixture
def of_pictures(tiny_clip):
    prefix = "encoder.image.options.open_clip_image"
    return {
        "encoder.image.name": "open_clip_image",
        f"{prefix}.weights": f"local-dir:{tiny_clip}",
        f"{prefix}.tune": "frozen",
        "fusion.name": "concat",
        "training.solver": "gradient",
        "training.batch_size": 4,
    }


@pytest.mark.parametrize("fusion", ["concat", "merged_transformer"])
def test_views_of_a_picture_are_encoded_once_and_seen_in_turn(
    objective, of_pictures, tmp_path, monkeypatch, caplog, fusion
):
    chosen = {**of_pictures, "fusion.name": fusion, "training.augment": "crop_flip", "training.views": 3}
    made = objective(pictures)
    with caplog.at_level(logging.INFO, "automm"):
        assert made.check(chosen) is None
    told = [record.getMessage() for record in caplog.records if "(crop_flip, view 3)" in record.getMessage()]
    assert [line.split(")")[1].split()[0] for line in told] == [",", "in"]  # before and after
    part = made._inputs.part(made.learnt, chosen, {})
    loader = part.loader(batch_size=8, shuffle=True, seed=0)
    seen = []
    for epoch in range(1, 5):
        loader.set_epoch(epoch)
        (batch,) = loader
        order = np.argsort(batch.index[batch.rows["picture"].argsort()])
        seen.append(batch.inputs["picture"]["pooled"][order])
    for at in range(8):
        assert torch.equal(seen[0][at], seen[3][at])  # the first of three again
        assert len({tuple(each[at].tolist()) for each in seen}) == 3
    judged = next(iter(made._inputs.part(made.valid, chosen, {}).loader(batch_size=8, shuffle=False, seed=0)))
    plain = next(iter(made._inputs.part(made.valid, of_pictures, {}).loader(batch_size=8, shuffle=False, seed=0)))
    assert torch.equal(judged.inputs["picture"]["pooled"], plain.inputs["picture"]["pooled"])
    first = fit(made, chosen, tmp_path, stop=2)
    assert isinstance(first.model.encoders[0], Precomputed)
    built = []
    monkeypatch.setattr(frozen, "build_encoder", lambda *asked: built.append(asked))
    again = fit(objective(pictures), chosen, tmp_path, stop=2)
    assert not built, "an encoder was built for what is kept"
    assert again.result.history == first.result.history


def test_a_view_is_the_same_whoever_else_is_encoded_with_it():
    rng = np.random.default_rng(0)
    pixels, keys = rng.integers(0, 256, (5, 3, 16, 16), dtype=np.uint8), rng.integers(0, 256, (5, 16), dtype=np.uint8)
    view = View("crop_flip", 1)
    together = view.of({"pixels": pixels}, keys)["pixels"]
    alone = [view.of({"pixels": pixels[at : at + 1]}, keys[at : at + 1])["pixels"][0] for at in range(5)]
    np.testing.assert_array_equal(together, alone)
    assert not np.array_equal(together, View("crop_flip", 2).of({"pixels": pixels}, keys)["pixels"])
    assert not np.array_equal(together, pixels)


def test_pictures_that_change_every_epoch_are_encoded_every_epoch(objective, of_pictures, tmp_path, monkeypatch):
    chosen = of_pictures
    seen, original = [], loop.augmented

    def watched(batch, how, draws):
        changed = original(batch, how, draws)
        before, after = (each.inputs["picture"].get("pixels") for each in (batch, changed))
        seen.append((how, before is not None, before is not None and not torch.equal(before, after)))
        return changed

    monkeypatch.setattr(loop, "augmented", watched)
    kept = fit(objective(pictures), chosen, tmp_path)
    assert isinstance(kept.model.encoders[0], Precomputed)
    assert seen == [("none", False, False)] * 2
    seen.clear()
    changed = {**chosen, "training.augment": "crop_flip"}
    assert objective(pictures).check(changed) is None
    changing = fit(objective(pictures), changed, tmp_path)
    assert not isinstance(changing.model.encoders[0], Precomputed)
    assert seen == [("crop_flip", True, True)] * 2


def test_what_frozen_encoders_cost_is_told_apart(objective, candidate):
    frozen = objective().operations(candidate)
    assert min(frozen.shared, frozen.own) > 0
    trained = objective().operations({**candidate, "encoder.text.options.transformers.tune": "full"})
    assert trained.shared == 0
    assert trained.total == pytest.approx(frozen.total)


def test_where_no_encoder_reads_pixels_there_is_nothing_to_change(objective, candidate):
    assert objective().check(candidate) is None
    assert "no encoder here reads images" in objective().check({**candidate, "training.augment": "crop"})


def test_an_encoder_from_weights_gets_few_items_at_a_time(objective, candidate, tmp_path, monkeypatch):
    chosen = {**candidate, "encoder.text.options.transformers.tune": "full", "training.batch_size": 40}
    made = objective()
    fitted = fit(made, chosen, tmp_path)
    whole = made.scores(fitted.model, chosen, table(1), fitted.preprocessors)
    sizes, original = [], Transformers.forward

    def counted(self, inputs):
        sizes.append(len(inputs["ids"]))
        return original(self, inputs)

    monkeypatch.setattr(Transformers, "forward", counted)
    monkeypatch.setattr("automm.model._AT_ONCE", 5)
    parts = made.scores(fitted.model, chosen, table(1), fitted.preprocessors)
    assert sizes == [5, 5, 2] * 2, "twelve texts in either column"
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    sizes.clear()
    monkeypatch.setattr("automm.training.loop._MICRO", 3)
    fit(made, chosen, tmp_path)
    trained = sizes[: sizes.index(5)]  # then it is evaluated
    assert max(trained) <= 3
    assert len(trained) == 2 * 14, "40 rows in passes of 3 at most, equal ones, and two columns"


def test_what_would_not_fit_is_not_kept_and_says_so_once(objective, candidate, tmp_path, caplog):
    made = objective(cache_bytes=1000)
    with caplog.at_level(logging.WARNING):
        fit(made, candidate, tmp_path)
        fit(made, candidate, tmp_path)
    assert caplog.text.count("more than the cache may") == 1
    assert not (tmp_path / "cache" / "features").exists()


def test_a_run_that_needs_more_than_the_cache_may_hold_says_so(objective, candidate, tmp_path, caplog):
    def distinct(seed):
        whole = table(seed)
        columns = {n: Column([f"{n} {seed} {w}" for w in c.values], c.index) for n, c in whole.columns.items()}
        return dataclasses.replace(whole, columns=columns)

    other = {**candidate, "encoder.text.options.transformers.pooling": "cls"}
    fit(objective(distinct), candidate, tmp_path)
    (shelf,) = FeatureCache(tmp_path / "cache" / "features", 0).info()
    tight = objective(distinct, cache_bytes=int(1.5 * shelf.bytes))  # either alone fits
    with caplog.at_level(logging.WARNING):
        for chosen in (candidate, other, candidate):
            fit(tight, chosen, tmp_path)
    assert caplog.text.count("together take more than cache_max_gb=") == 1
    assert len(FeatureCache(tmp_path / "cache" / "features", 0).info()) == 2  # kept all the same


def test_a_run_on_real_weights_from_table_to_bundle(minilm, tmp_path):
    rows = [f"{'cat' if i % 2 else 'dog'} picture number {i},{'pet A' if i % 2 else 'pet B'}" for i in range(60)]
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    asked = [
        "+task=classification", f"data.train={tmp_path / 't.csv'}", "data.target=label", "data.folds=1",
        f"encoder.text.weights=local-dir:{minilm}", "search.trials=4", "executor=in_process", "training.epochs=9",
        "search.max_epochs=9", f"run.dir={tmp_path / 'run'}", f"cache_dir={tmp_path / 'cache'}",
    ]  # fmt: skip
    done = run(to_settings(compose(asked), tmp_path, overrides=asked))
    assert done.values["test"]["accuracy"] == 1.0
    head = load_model(done.run_dir / "checkpoints" / "best").model.heads[0]
    learnt_from = int(head.weight_SC.abs().sum(dim=1).count_nonzero())
    tested = len(json.loads((done.run_dir / "predictions.json").read_text()))
    assert learnt_from == 60 - tested + 2, "validation rows too, and the names of two classes"
    answers = Predictor.open(done.run_dir / "bundle").predict([{"text": "a dog"}, {"text": "a cat"}])
    assert [each["answer"] for each in answers] == ["pet B", "pet A"]


def test_a_second_run_imports_nothing_that_its_first_trial_has_no_need_of(objective, candidate, tmp_path):
    fit(objective(), candidate, tmp_path)
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import dataclasses, numpy
import automm.flow
from pathlib import Path
import test_frozen
from automm.config import compose, to_settings
from automm.tasks.classification import Classification
from automm.training import loop
from automm.training.objective import TrainingObjective
from automm.types import Splits
asked = ["+task=classification", "data.train=none.csv", "data.target=y", "cache_dir={tmp_path / "cache"}"]
train, task = test_frozen.table(0), Classification()
task.fit(train)
here = Path({str(tmp_path)!r})
made = TrainingObjective(to_settings(compose(asked), here), Splits(train, test_frozen.table(1)), task, here)
candidate = {candidate!r}
assert made.check(candidate) is None
test_frozen.fit(made, candidate, here)
unneeded = {{"timm", "transformers", "huggingface_hub", "open_clip", "torchvision"}}
unneeded |= {{"nevergrad", "sklearn", "onnxscript"}}
loaded = sorted(unneeded & set(sys.modules))
assert not loaded, loaded
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def test_stand_ins_are_what_the_encoder_said(candidate, tmp_path, objective):
    made = objective()
    fitted = fit(made, candidate, tmp_path)
    spec = SCHEMA["title"]
    real = build_encoder(candidate, spec, fit_preprocess(candidate, spec, made.train))
    assert fitted.model.encoders[0].spec == real.spec
    assert encoder_of(candidate, spec)[0].name == "transformers"
    assert not list(torch.nn.Module.parameters(fitted.model.encoders[0]))
