"""Coloured shapes and what they are called: learnt from a table of two columns, served by a bundle."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from automm.autotrainer import AutoTrainer
from automm.commands import run as command
from automm.config import compose, to_settings
from automm.errors import ConfigError, DataError
from automm.flow import Run
from automm.runtime import Predictor
from automm.runtime.nearest import nearest

COLOURS = ("red", "green", "blue", "orange")
SHAPES = ("square", "circle", "bar")


def draw(path, colour, shape, random):
    image = Image.new("RGB", (24, 24), "white")
    x, y = random.integers(1, 9, 2).tolist()
    box = (x, y, x + 13, y + (5 if shape == "bar" else 13))
    pencil = ImageDraw.Draw(image)
    (pencil.ellipse if shape == "circle" else pencil.rectangle)(box, fill=colour)
    image.save(path)


def a_table(folder, name, each, seed):
    """`each` pictures of every kind: several share what they are called."""
    random = np.random.default_rng(seed)
    lines = ["picture,words"]
    for at in range(each):
        for colour in COLOURS:
            for shape in SHAPES:
                draw(folder / f"{name}-{colour}-{shape}-{at}.png", colour, shape, random)
                lines.append(f"{name}-{colour}-{shape}-{at}.png,a {colour} {shape}")
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder / f"{name}.csv"


def settings(folder, *more):
    asked = [
        "+task=retrieval",
        f"data.train={folder / 'train.csv'}",
        f"data.test={folder / 'test.csv'}",
        "data.columns.words=text",  # few of them repeated often would be categories
        "encoder.image.options.convnet.width=48",
        "encoder/text=ngrams",
        "fusion.options.towers.dim=64",
        "training.lr=5e-3",
        "training.batch_size=24",
        "search.trials=1",
        "search.min_epochs=1",
        "search.max_epochs=1",
        "training.epochs=15",
        "executor=in_process",
        f"run.dir={folder / 'run'}",
        f"cache_dir={folder / 'cache'}",
        *more,
    ]
    return to_settings(compose(asked), folder, overrides=asked)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    a_table(folder, "train", 6, seed=0)
    a_table(folder, "test", 2, seed=1)
    return folder


@pytest.fixture(scope="module")
def done(folder):
    with Run(settings(folder, "baselines.unimodal=true")) as stages:
        result = stages.finish()
        return result, stages.splits.test, stages.test_scores


def test_it_learns_far_beyond_chance(done):
    values = done[0].values
    test, chance = values["test"], values["baselines"]["majority"]
    assert values["goal"] == {"metric": "recall@1", "direction": "maximize"}
    assert chance["recall@1"] < 0.3
    assert test["recall@1"] > 0.6
    assert test["recall@5"] > 0.9
    for direction in ("picture_to_words", "words_to_picture"):
        assert {f"{name}/{direction}" for name in ("recall@10", "precision@5", "ndcg@10", "mrr")} <= set(test)
    assert not any(name.endswith("_only") for name in values["baselines"])
    assert values["uncertainty"] is None
    assert values["best"]["candidate"]["fusion.name"] == "towers"
    json.dumps(values, allow_nan=False)


def test_predictions_and_report_name_what_comes_first(done):
    said = json.loads((done[0].run_dir / "predictions.json").read_text())
    best = said[0]["prediction"]["picture_to_words"]
    assert best["best"].startswith("a ")
    assert best["rank"] >= 1
    page = (done[0].run_dir / "report.html").read_text()
    assert "picture to words: best: a " in page
    assert "recall@1" in page


def test_the_bundle_ranks_as_the_model_does(done):
    result, test, scores = done
    predictor = Predictor.open(result.run_dir / "bundle")
    pictures, words = ([{name: value} for value in column.values] for name, column in test.columns.items())
    found = predictor.rank(words, pictures, k=3)
    first = [np.unique(column.index, return_index=True)[1] for column in test.columns.values()]
    halves = [half[rows] for half, rows in zip(np.split(scores, 2, axis=1), first, strict=True)]
    expected = nearest(halves[1], halves[0], 3)
    assert found.index_QK.shape == (12, 3)
    np.testing.assert_allclose(found.score_QK, expected.score_QK, atol=1e-4)
    assert (found.index_QK == expected.index_QK).mean() > 0.9  # of equals another may come first
    whole = predictor.rank(pictures, words, k=99)
    assert whole.index_QK.shape == (24, 12)


def test_the_bundle_gives_the_vectors_of_what_a_row_has(done, tmp_path, capsys):
    result, test, _ = done
    row = test.row(0)
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(r) for r in (row, {"words": row["words"]}, {})))
    command(["predict", str(result.run_dir / "bundle"), str(tmp_path / "rows.jsonl")])
    both, text, nothing = (json.loads(line)["answer"] for line in capsys.readouterr().out.splitlines())
    assert list(both) == ["picture", "words"]
    assert list(text) == ["words"]
    assert nothing == {}
    assert np.linalg.norm(both["picture"]) == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(text["words"], both["words"], atol=1e-4)


def test_numbers_and_texts_belong_together_too(tmp_path):
    """Sizes and what they are called: any column that an encoder reads has a tower."""
    random = np.random.default_rng(0)
    words = {"tiny": 1, "small": 3, "middling": 5, "large": 7, "huge": 9, "vast": 11}
    for name, each in (("train", 20), ("test", 4)):
        sizes = [(size + random.uniform(-0.5, 0.5), word) for word, size in words.items() for _ in range(each)]
        lines = [f"{size:.3f},a {word} one" for size, word in sizes]
        (tmp_path / f"{name}.csv").write_text("\n".join(["size,words", *lines]) + "\n")
    with Run(settings(tmp_path, "training.epochs=25")) as stages:
        result = stages.finish()
    candidate = result.values["best"]["candidate"]
    assert candidate["encoder.numeric.name"] == "periodic"
    assert result.values["test"]["recall@1/size_to_words"] > 2 * result.values["baselines"]["majority"]["recall@1"]
    predictor = Predictor.open(result.run_dir / "bundle")
    found = predictor.rank([{"size": 1.1}, {"size": 10.9}], [{"words": f"a {word} one"} for word in words], k=1)
    assert found.index_QK.tolist() == [[0], [5]]


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        ([{"picture": None}], "queries hold none"),
        ([{"words": "a"}, {}], "queries hold none; words"),
        ([{"words": "a", "picture": "x.png"}], "queries hold picture and words"),
    ],
)
def test_rows_of_one_field_are_ranked(done, queries, message):
    predictor = Predictor.open(done[0].run_dir / "bundle", verify=False)
    with pytest.raises(DataError, match=message):
        predictor.rank(queries, [{"words": "a red square"}])
    with pytest.raises(DataError, match=r"k of at least 1 \(got 0\)"):
        predictor.rank([{"words": "a"}], [{"words": "b"}], k=0)


def test_a_table_without_a_target_is_for_retrieval_alone(folder):
    asked = to_settings(compose(["+task=classification", f"data.train={folder / 'train.csv'}"]), folder)
    with pytest.raises(ConfigError, match=r"data\.target is not set, and task=classification learns to predict"):
        _ = Run(asked).splits


def test_the_trainer_asks_for_no_target(folder):
    trainer = AutoTrainer(folder / "train.csv", "retrieval", run_dir=folder / "trainer")
    assert trainer.settings.data.options["target"] is None
    assert trainer.settings.space.params["fusion.name"].choices == ("towers",)
    source = AutoTrainer("karpathy", run_dir=folder / "trainer").settings
    assert (source.task.name, source.data.name) == ("retrieval", "karpathy")


@pytest.mark.parametrize("more", ["fusion=gated", "fusion.name=[towers,concat]"])
def test_fusions_that_make_one_vector_of_both_are_refused(folder, more):
    with pytest.raises(ConfigError, match=r"task=retrieval compares a vector of each field, .* Next: fusion=towers"):
        settings(folder, more)
