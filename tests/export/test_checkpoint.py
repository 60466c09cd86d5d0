import json

import numpy as np
import pytest

from automm.errors import StudyError
from automm.export.checkpoint import load_model, replacing, save_model
from automm.export.parity import torch_scores
from automm.export.run import load_run


def test_a_saved_model_is_the_same_function(run_dir, trained):
    loaded = load_model(run_dir / "checkpoints" / "best")
    assert loaded.task.labels == trained.task.labels
    assert loaded.candidate == trained.candidate
    assert loaded.schema == trained.schema
    assert loaded.metrics == trained.metrics
    assert not loaded.model.training
    assert float(loaded.model.temperature) == pytest.approx(1.7)
    rows = [*trained.rows, {}]
    np.testing.assert_array_equal(torch_scores(loaded, rows), torch_scores(trained, rows))
    stored = [*loaded.rows, {}]  # the raw rows too are the same, as files
    np.testing.assert_array_equal(torch_scores(loaded, stored), torch_scores(trained, rows))


def test_nothing_is_pickled(run_dir):
    files = [path for path in (run_dir / "checkpoints").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".png", ".npy"}


def test_a_run_without_a_model_is_told_to_finish(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(StudyError, match="no trained model is saved"):
        load_run(tmp_path)


def test_what_is_no_run_is_said_to_be_none(tmp_path):
    with pytest.raises(StudyError, match=r"holds no config\.yaml"):
        load_run(tmp_path)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_damaged_model_is_named(tmp_path, trained, name):
    save_model(tmp_path / "best", trained)
    (tmp_path / "best" / name).write_bytes(b"{broken")
    with pytest.raises(StudyError, match="cannot be read"):
        load_model(tmp_path / "best")


def test_a_newer_format_is_refused(tmp_path, trained):
    save_model(tmp_path / "best", trained)
    path = tmp_path / "best" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 9}))
    with pytest.raises(StudyError, match="format 9"):
        load_model(tmp_path / "best")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "thing"
    with replacing(folder) as partial:
        (partial / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), replacing(folder) as partial:
        (partial / "a").write_text(str(1 / 0))
    assert (folder / "a").read_text() == "1"
    with replacing(folder) as partial:
        (partial / "b").write_text("3")
    assert [path.name for path in folder.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_a_kill_between_two_renames_loses_nothing(tmp_path):
    (tmp_path / ".thing.former").mkdir()
    (tmp_path / ".thing.former" / "a").write_text("1")
    (tmp_path / ".thing.partial").mkdir()
    with pytest.raises(RuntimeError), replacing(tmp_path / "thing"):
        raise RuntimeError
    assert (tmp_path / "thing" / "a").read_text() == "1"
