"""Two texts and two images in one table, some with encoders of their own, from the file to the bundle's answers."""

import csv
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from automm.config import compose, to_settings
from automm.encoders.convnet import ConvNet
from automm.encoders.ngrams import Ngrams
from automm.encoders.transformers import Transformers
from automm.errors import UnknownKey
from automm.export.checkpoint import load_model
from automm.field_encoders import for_schema
from automm.flow import run
from automm.runtime import Predictor

KINDS = ("apple", "pear", "plum")
PHOTO_2 = 'encoder.fields."photo 2"'


def shop(folder, rows=36):
    """What a row is of, the body and the second photo tell."""
    rng = np.random.default_rng(0)
    lines = []
    for row in range(rows):
        kind = row % 3
        pictures = [rng.integers(0, 256, (16, 16, 3)) // 4 for _ in range(2)]
        pictures[1][..., kind] += 180
        for at, picture in enumerate(pictures):
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"{row}-{at}.png")
        body = f"a ripe {KINDS[kind]} number {row}"
        lines.append([f"offer {row} of today", body, f"{row}-0.png", "" if row == 5 else f"{row}-1.png", KINDS[kind]])
    with (folder / "shop.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["title", "body", "photo", "photo 2", "kind"], *lines])
    return folder / "shop.csv"


def asked(folder, bert, *more):
    return [
        "+task=classification",
        f"data.train={shop(folder)}",
        "data.folds=1",
        "data.target=kind",
        "encoder.fields.title.name=transformers",
        f"encoder.fields.title.weights=local-dir:{bert}",
        "encoder.text.name=ngrams",
        f"{PHOTO_2}.options.convnet.width=[64,96]",
        "encoder.image.options.convnet.width=48",
        "fusion=concat",
        "training=gradient",
        "search.trials=2",
        "executor=in_process",
        "search.min_epochs=1",
        "search.max_epochs=1",
        "training.epochs=2",
        "baselines.unimodal_epochs=1",
        "baselines.defaults=false",
        f"run.dir={folder / 'run'}",
        f"cache_dir={folder / 'cache'}",
        *more,
    ]


def settings(folder, bert, *more):
    words = asked(folder, bert, *more)
    return to_settings(compose(words), folder, overrides=words)


@pytest.fixture(scope="module")
def done(tmp_path_factory, tiny_bert):
    return run(settings(tmp_path_factory.mktemp("shop"), tiny_bert))


def test_every_column_has_the_encoder_it_was_given(done):
    best = load_model(done.run_dir / "checkpoints" / "best")
    encoders = dict(zip(best.model.fields, best.model.encoders, strict=True))
    kinds = {"title": Transformers, "body": Ngrams, "photo": ConvNet, "photo 2": ConvNet}
    assert {name: type(encoder) for name, encoder in encoders.items()} == kinds
    assert encoders["photo"].spec.width == 48
    assert encoders["photo 2"].spec.width == best.candidate[f"{PHOTO_2}.options.convnet.width"] in (64, 96)
    shelves = (done.run_dir.parent / "cache" / "features").glob("*/shelf.json")
    assert [json.loads(path.read_text())["spec"]["modality"] for path in shelves] == ["text"]  # the frozen title's


def test_baselines_and_report_know_the_columns(done):
    assert {"text_only", "image_only"} <= set(done.values["baselines"])
    alone = load_model(done.run_dir / "checkpoints" / "image_only")
    assert tuple(alone.model.fields) == ("photo", "photo 2")
    assert f"{PHOTO_2}.name" in alone.candidate
    assert not any(path.startswith(("encoder.text", "encoder.fields.title")) for path in alone.candidate)
    read = {each["name"]: each for each in done.values["data"]["columns"]}
    assert {name: each["modality"] for name, each in read.items() if each["role"] == "input"} == {
        "title": "text",
        "body": "text",
        "photo": "image",
        "photo 2": "image",
    }
    assert "image file" in read["photo"]["reason"]
    assert (sum(read["photo 2"]["missing"].values()), sum(read["photo"]["missing"].values())) == (1, 0)
    page = (done.run_dir / "report.html").read_text()
    assert "transformers (title)" in page
    assert "convnet (photo 2)" in page


def test_the_bundle_answers_rows_of_these_columns(done):
    folder = done.run_dir.parent
    rows = [
        {"title": "offer", "body": "a ripe pear", "photo": folder / "1-0.png", "photo 2": folder / "1-1.png"},
        {"body": "a ripe plum", "photo": folder / "2-0.png"},
    ]
    answers = Predictor.open(done.run_dir / "bundle").predict(rows)
    assert {each["answer"] for each in answers} <= set(KINDS)
    assert all(np.isfinite(list(each["scores"].values())).all() for each in answers)


def test_best_overrides_reproduce_the_candidate(done):
    best = done.values["best"]
    again = to_settings(compose(best["overrides"]), done.run_dir.parent)
    schema = load_model(done.run_dir / "checkpoints" / "best").schema
    decided = for_schema(again.space, again.fields, schema)
    assert decided.defaults() == best["candidate"]
    assert decided.cardinality() == 1


def test_another_process_can_be_given_the_settings(done, tiny_bert, tmp_path):
    found = settings(tmp_path, tiny_bert)
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_column_that_is_not_there_leaves_no_run_behind(tiny_bert, tmp_path):
    with pytest.raises(UnknownKey, match=r"encoder\.fields\.titel: .* Did you mean 'title'"):
        run(settings(tmp_path, tiny_bert, "encoder.fields.titel.name=ngrams"))
    assert not (tmp_path / "run").exists()
