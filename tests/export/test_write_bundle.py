import json

import numpy as np
import onnx
import pytest
from PIL import Image
from small_models import QUESTIONS, make_trained

from automm.errors import ExportError
from automm.export.bundle import write_bundle
from automm.export.parity import check_parity, torch_scores
from automm.runtime import Predictor
from automm.training.calibration import at_temperature_one


@pytest.fixture(scope="module")
def predictor(bundle):
    return Predictor.open(bundle, threads=1)


@pytest.fixture(scope="module")
def manifest(bundle):
    return json.loads((bundle / "manifest.json").read_text())


def test_fresh_rows_score_as_in_training(predictor, trained):
    rng = np.random.default_rng(7)
    image = rng.integers(0, 255, (31, 17, 3), np.uint8)  # another size: resized on both sides
    rows = [
        {"image": image, "question": "how many?"},
        {"image": image, "question": " ".join(QUESTIONS) * 3},  # longer than anything the graph was exported with
        {"question": "how many?"},
        {"image": image},
        {},
    ]
    for batch in (rows[:1], rows[1:3], rows, rows * 5):
        np.testing.assert_allclose(predictor.scores(batch), torch_scores(trained, batch), atol=1e-5)


def test_scores_are_calibrated_and_answers_what_they_were(predictor, trained):
    found = predictor.scores(trained.rows)
    plain = torch_scores(make_trained(), trained.rows)  # the same weights at temperature 1
    np.testing.assert_allclose(at_temperature_one(found, 1.7), plain, atol=1e-5)
    assert np.abs(found - plain).max() > 1e-3
    np.testing.assert_array_equal(found.argmax(axis=1), plain.argmax(axis=1))


def test_a_missing_modality_is_not_a_placeholder(predictor):
    black = np.zeros((20, 24, 3), np.uint8)
    asked = {"question": "red?"}
    assert np.abs(predictor.scores([asked]) - predictor.scores([{**asked, "image": black}])).max() > 1e-4


def test_the_graph_is_one_file_with_dynamic_axes(bundle):
    model = onnx.load(str(bundle / "model.fp32.onnx"), load_external_data=False)
    onnx.checker.check_model(model)
    shapes = {
        each.name: [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim] for each in model.graph.input
    }
    assert list(shapes) == ["image", "question.ids", "question.mask", "present"]
    assert shapes["image"] == ["batch", 3, 20, 24]
    assert shapes["question.ids"] == shapes["question.mask"] == ["batch", "question.length"]
    assert shapes["present"] == ["batch", 2]
    assert [each.name for each in model.graph.output] == ["scores"]
    assert {o.version for o in model.opset_import if not o.domain} == {20}
    assert not any(t.data_location == onnx.TensorProto.EXTERNAL for t in model.graph.initializer)


def test_parity_was_proved_on_raw_rows_at_several_shapes(manifest):
    (variant,) = manifest["graphs"][0]["variants"]
    for proof in variant["parity"].values():
        assert proof["max_abs"] <= proof["tolerance"] == 1e-4
        rows = [batch["rows"] for batch in proof["batches"]]
        assert len(set(rows)) >= 3
        assert 1 in rows
        assert any(batch["missing"] and batch["rows"] == 1 for batch in proof["batches"])
        assert any(batch["missing"] and batch["rows"] > 1 for batch in proof["batches"])


def test_the_manifest_says_what_the_bundle_is(manifest, trained):
    (variant,) = manifest["graphs"][0]["variants"]
    assert manifest["schema"] == 1
    assert manifest["task"]["labels"] == list(trained.task.labels)
    assert manifest["candidate"] == trained.candidate
    assert variant["metrics"] == {"valid": {"accuracy": 0.5}}
    assert {"automm", "torch", "onnxruntime"} <= set(manifest["versions"])
    assert len(manifest["config"]["sha256"]) == 64
    latency = variant["latency"]
    assert latency["cpu"]["model"]
    assert latency["cpu"]["flags"] is not None
    assert latency["threads"] >= 1
    assert [batch["rows"] for batch in latency["batches"]] == [1, 16]
    assert all(batch["total_ms"]["median"] > 0 for batch in latency["batches"])


def test_golden_rows_are_files_a_reader_can_open(bundle, trained):
    rows = json.loads((bundle / "golden" / "rows.json").read_text())["rows"]
    assert len(rows) == 4
    image = np.asarray(Image.open(bundle / "golden" / rows[0]["image"]["file"]))
    np.testing.assert_array_equal(image, trained.rows[0]["image"])
    assert rows[0]["question"] == trained.rows[0]["question"]


def test_a_model_with_other_weights_fails_the_proof(predictor, trained):
    other = make_trained(**{"encoder.text.options.text_transformer.dropout": 0.5})
    for parameter in other.model.parameters():
        parameter.data.mul_(1.5)
    with pytest.raises(ExportError, match="the exported model is not the trained one: on 1 rows"):
        check_parity(other, predictor, trained.rows, tolerance=1e-4)


def test_scores_that_are_not_finite_fail_the_proof(predictor, trained):
    broken = make_trained()
    next(broken.model.heads.parameters()).data.fill_(float("nan"))
    with pytest.raises(ExportError, match="nan apart"):
        check_parity(broken, predictor, trained.rows, tolerance=1e-4)


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path, trained, settings):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="is no bundle; it is not overwritten"):
        write_bundle(tmp_path, trained, settings)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_export_needs_rows_to_be_proved_on(tmp_path, trained, settings):
    bare = type(trained)(**{**vars(trained), "rows": ()})
    with pytest.raises(ExportError, match="none were given"):
        write_bundle(tmp_path / "bundle", bare, settings)
    assert not list(tmp_path.iterdir())
