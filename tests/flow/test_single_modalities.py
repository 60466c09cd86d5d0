"""Every modality alone, from a table to the bundle's answers, with what a run does when nothing more is said."""

import csv

import numpy as np
import pytest
from PIL import Image

from automm import AutoTrainer
from automm.runtime import Predictor

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


def cells(folder, modality, colour, row):
    draw = np.random.default_rng(row)
    if modality == "image":
        pixels = np.clip(np.array(COLOURS[colour]) + draw.integers(-30, 30, (12, 12, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{row}.png")
        return f"{row}.png"
    if modality == "text":
        return f"the {colour} one of the {draw.integers(100)} things on the table {row}"
    if modality == "numeric":
        return f"{(1.0 if colour == 'red' else 3.0) + draw.normal(0, 0.3):.3f}"
    return f"{colour} {draw.integers(3)}"


@pytest.mark.parametrize("modality", ["image", "text", "numeric", "categorical"])
def test_one_column_is_enough(tmp_path, modality):
    answers = [("red", "blue")[row % 2] for row in range(80)]
    shown = [cells(tmp_path, modality, colour, row) for row, colour in enumerate(answers)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["shown", "colour"], *zip(shown, answers, strict=True)])
    more = ["executor=in_process", f"cache_dir={tmp_path / 'cache'}", "data.folds=1", "training.epochs=4"]
    more += ["search.max_epochs=3", "baselines.unimodal_epochs=2"]
    with AutoTrainer(
        tmp_path / "t.csv", target="colour", max_trials=2, run_dir=tmp_path / "run", overrides=more
    ) as made:
        assert made.hyperopt()
        values = made.fit().evaluate()
        made.report()
        (read,) = made._stages.splits.train.schema.inputs
    assert read.modality == modality
    assert values["accuracy"] >= 0.9
    row = {"shown": tmp_path / shown[3] if modality == "image" else shown[3]}
    assert Predictor.open(tmp_path / "run" / "bundle").predict([row])[0]["answer"] == "blue"
