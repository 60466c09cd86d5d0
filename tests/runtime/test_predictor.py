import io

import numpy as np
import pytest
from PIL import Image

from automm.errors import BundleError, DataError
from automm.runtime import Predictor

DARK = np.zeros((8, 8, 3), np.uint8)
WHITE = np.full((8, 8, 3), 255, np.uint8)


def test_an_answer_and_its_scores_best_first(predictor):
    (said,) = predictor.predict([{"image": WHITE, "question": "what"}])
    assert said["answer"] == "bright"
    assert list(said["scores"]) == ["bright", "wordy", "unsure"]
    values = list(said["scores"].values())
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1)


def test_only_the_top_scores_are_told(predictor):
    (said,) = predictor.predict([{"image": WHITE}], top=1)
    assert list(said["scores"]) == [said["answer"]]


@pytest.mark.parametrize("kind", ["path", "text path", "bytes", "pil", "array"])
def test_every_form_of_an_image_gives_the_same(predictor, tmp_path, kind):
    array = np.random.default_rng(0).integers(0, 255, (13, 9, 3), np.uint8)
    path = tmp_path / "image.png"
    Image.fromarray(array).save(path)
    forms = {
        "path": path,
        "text path": str(path),
        "bytes": path.read_bytes(),
        "pil": Image.open(io.BytesIO(path.read_bytes())),
        "array": array,
    }
    row = {"image": forms[kind], "question": "red"}
    np.testing.assert_array_equal(predictor.scores([row]), predictor.scores([{**row, "image": array}]))


@pytest.mark.parametrize(
    "row", [{"question": "red"}, *({"image": nothing, "question": "red"} for nothing in (None, float("nan"), "", " "))]
)
def test_a_missing_modality_is_left_out_none_nan_or_blank(predictor, row):
    scores = predictor.scores([row])
    dark = predictor.scores([{"image": DARK, "question": "red"}])
    assert scores[0, 2] > dark[0, 2]  # the graph knows that it is missing, not black
    np.testing.assert_array_equal(scores, predictor.scores([{"question": "red"}]))


def test_a_row_of_nothing_is_answered(predictor):
    assert predictor.predict([{}])[0]["answer"] == "unsure"


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_batches_change_nothing(predictor, batch_size):
    rows = [
        {"image": WHITE, "question": "what is it ?"},
        {"question": "red"},
        {"image": DARK},
        {},
        {"image": DARK, "question": "blue"},
    ]
    one_by_one = np.concatenate([predictor.scores([row]) for row in rows])
    np.testing.assert_allclose(predictor.scores(rows, batch_size=batch_size), one_by_one, atol=1e-6)


def test_no_rows_no_answers(predictor):
    assert predictor.predict([]) == []
    assert predictor.scores([]).shape == (0, 3)


def test_repeated_values_are_preprocessed_once(predictor, monkeypatch):
    seen = {}
    for name, real in predictor._preprocessors.items():
        monkeypatch.setitem(
            predictor._preprocessors,
            name,
            lambda values, name=name, real=real: seen.setdefault(name, list(values)) and real(values),
        )
    rows = [{"image": WHITE, "question": f"{word} ?"} for word in ("red", "blue", "red")] + [{"question": "red ?"}]
    predictor.scores(rows)
    assert len(seen["image"]) == 1
    assert seen["question"] == ["red ?", "blue ?"]


def test_an_unknown_field_is_refused_with_the_near_miss(predictor):
    with pytest.raises(DataError, match=r"row 1 has a field 'imgae'.*Did you mean 'image'\? Known: image, question"):
        predictor.predict([{"question": "red"}, {"imgae": WHITE}])


def test_an_unreadable_image_is_named(predictor, tmp_path):
    with pytest.raises(DataError, match=r"no_such\.png"):
        predictor.predict([{"image": tmp_path / "no_such.png"}])


def test_one_row_is_not_a_list(predictor):
    with pytest.raises(DataError, match=r"list of rows.*predict\(\[row\]\)"):
        predictor.predict({"question": "red"})


def test_a_batch_holds_at_least_one_row(predictor):
    with pytest.raises(DataError, match="batch_size"):
        predictor.predict([{}], batch_size=0)


def test_opening_replays_the_golden_rows(bundle):
    predictor = Predictor.open(bundle)
    assert predictor.replay() < 1e-3
    rows, expected = predictor.golden()
    assert len(rows) == len(expected) == 3
    assert predictor.bundle.fields == ("image", "question")


def test_a_processor_without_what_every_variant_needs_is_told_so(bundle, edit_manifest):
    edit_manifest(bundle, lambda m: m["graphs"][0]["variants"][0].update(requires=["no_such_flag"]))
    with pytest.raises(BundleError, match=r"no variant for this processor.*no_such_flag"):
        Predictor.open(bundle)


def test_the_first_variant_that_runs_is_taken(bundle, edit_manifest):
    def add(manifest):
        variants = manifest["graphs"][0]["variants"]
        variants.insert(0, {**variants[0], "name": "int8-future", "requires": ["no_such_flag"]})

    edit_manifest(bundle, add)
    assert Predictor.open(bundle).variant == "fp32"
