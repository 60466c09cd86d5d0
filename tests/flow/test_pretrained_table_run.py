"""The command of a table of images and texts with pretrained weights, as a user gives it."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from automm.runtime import Predictor

THINGS = {"fruit": ("apple", "pear", "cherry", "plum"), "animal": ("horse", "sheep", "goat", "donkey")}


def write(folder, name, first, rows):
    """Two pictures of each thing, which belong together."""
    lines = []
    for row in range(rows):
        kind = ("fruit", "animal")[row // 2 % 2]
        draw = np.random.default_rng(first + row)
        pixels = np.full((24, 24, 3), (220, 120, 60) if kind == "fruit" else (60, 120, 90)) + draw.integers(-30, 30, 3)
        file = f"{name}-{row}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / file)
        thing = THINGS[kind][draw.integers(4)]
        lines.append([file, f"{draw.integers(90) + 2} of a {thing}", f"{name} {row // 2}", f"vendor {row % 2}", kind])
    with (folder / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "name", "unified", "vendor", "subcategory"], *lines])
    return folder / f"{name}.csv"


@pytest.fixture(scope="module")
def words(tmp_path_factory, minilm, effnet):
    folder = tmp_path_factory.mktemp("things")
    return [
        "+task=classification",
        f"data.train={write(folder, 'train', 0, 80)}",
        f"data.test={write(folder, 'test', 100, 20)}",
        "data.target=subcategory",
        "data.group=unified",
        "data.drop=[vendor]",
        "data.columns.name=text",
        f"encoder.text.weights=local-dir:{minilm}",
        "encoder.image.model=tf_efficientnet_lite0",
        f"encoder.image.weights=file:{effnet / 'model.safetensors'}",
        "search.timeout=300",
        "search.trials=2",
        f"cache_dir={folder / 'cache'}",
    ]


def test_the_command_ends_with_a_model_its_report_and_its_bundle(words, tmp_path):
    command = [sys.executable, "-m", "automm", *words, f"run.dir={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert values["test"]["accuracy"] >= 0.9
    assert {"majority", "image_only", "text_only", "defaults"} <= set(values["baselines"])
    assert set(values["removed"]) == {"image", "text"}
    assert values["data"]["rows"]["test"] == 20
    assert (tmp_path / "run" / "report.html").stat().st_size > 100_000
    row = {"name": "3 of a goat"}  # a picture may be missing
    assert Predictor.open(tmp_path / "run" / "bundle").predict([row])[0]["answer"] == "animal"


def test_a_second_run_searches_without_either_library(words, tmp_path):
    """What is kept of both encoders is all that trials read."""
    script = """
import sys
from pathlib import Path
from automm.config import compose, to_settings
from automm.flow import Run
words = sys.argv[1:]
with Run(to_settings(compose(words), Path.cwd(), overrides=words)) as stages:
    assert len([t for t in stages.searched.trials if t.state == "completed"]) >= 1
print(sorted({"timm", "transformers", "torchvision"} & set(sys.modules)))
"""
    more = ["executor=in_process", "search.runoff=0"]
    for run, expected in (("first", None), ("second", "[]")):
        command = [sys.executable, "-c", script, *words, *more, f"run.dir={tmp_path / run}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        assert expected is None or done.stdout.splitlines()[-1] == expected
