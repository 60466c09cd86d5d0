"""A table of a picture, two texts and a number in which one text decides: what its run says the winner goes by."""

import numpy as np
import pytest
from PIL import Image

from automm.config import compose, to_settings
from automm.export.checkpoint import load_model
from automm.flow import Run, run
from automm.trial import Trial

ROWS = 90
COLUMNS = {"picture": "image", "said": "text", "noise": "text", "size": "numeric"}


def a_table(folder):
    rng = np.random.default_rng(0)
    lines = []
    for at in range(ROWS):
        Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).save(folder / f"{at}.png")
        kind = ("bird", "fish")[at % 2]
        lines.append(f"{at}.png,a {kind} of the sea,number {rng.integers(9)},{rng.integers(100)},{kind}")
    path = folder / "rows.csv"
    path.write_text("\n".join(["picture,said,noise,size,kind", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    asked = [
        "+task=classification",
        f"data.train={a_table(folder)}",
        "data.folds=1",
        "data.target=kind",
        *(f"data.columns.{name}={modality}" for name, modality in COLUMNS.items()),
        "encoder.image.options.convnet.width=48",
        "fusion=concat",
        "training=gradient",
        "training.lr=3e-3",
        "training.batch_size=32",
        "training.epochs=6",
        "executor=in_process",
        "search.trials=1",
        "search.min_epochs=6",
        "search.max_epochs=6",
        "baselines.unimodal=false",
        "export.enabled=false",
        f"run.dir={folder / 'run'}",
        f"cache_dir={folder / 'cache'}",
    ]
    return to_settings(compose(asked), folder, overrides=asked)


@pytest.fixture(scope="module")
def finished(settings):
    return run(settings)


def test_the_text_that_decides_is_missed_and_nothing_else_is(finished):
    values = finished.values
    assert set(values["removed"]) == {"image", "text", "numeric", "text/said", "text/noise"}
    whole = values["explained"]["whole"]["accuracy"]
    assert whole > 0.9
    for name in ("text", "text/said"):
        assert values["removed"][name]["accuracy"] < whole - 0.2
        assert values["importance"][name]["drop"] > 0.2
    for name in ("image", "numeric", "text/noise"):
        assert values["importance"][name]["drop"] == pytest.approx(0, abs=0.15)


def test_a_winner_that_has_learnt_from_validation_is_calibrated_by_its_trial(settings, finished):
    values = finished.values["calibration"]
    assert values["fitted_by"] == "trial"
    objective = Run(settings).objective
    (state,) = objective.trial_folder(0).glob("*.safetensors")
    assert objective.temperature(finished.values["best"]["candidate"], state) == values["temperature"] != 1
    saved = load_model(finished.run_dir / "checkpoints" / "best")
    assert float(saved.model.temperature) == pytest.approx(values["temperature"])


def test_the_state_of_a_trial_is_that_of_its_epochs_or_the_last(settings, finished):
    objective = Run(settings).objective
    trial, folder = Trial(7, {}, epochs=3), objective.trial_folder(7)
    assert objective.state_of(trial) is None
    folder.mkdir(parents=True)
    (folder / "9.safetensors").touch()
    assert objective.state_of(trial) == folder / "9.safetensors"
    (folder / "3.safetensors").touch()
    assert objective.state_of(trial) == folder / "3.safetensors"


def test_the_report_shows_the_pictures_of_the_rows(finished):
    page = (finished.run_dir / "report.html").read_text()
    assert page.count("data:image/png;base64") >= 6
    assert "said: " in page
    assert "figure-reliance" in page
    assert "figure-calibration" in page
