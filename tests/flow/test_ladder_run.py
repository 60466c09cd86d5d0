"""A search over real encoders: heads on kept features first, then the best with their encoder unfrozen."""

import csv
import json

import pytest

from automm.config import compose, to_settings
from automm.flow import run


@pytest.fixture(scope="module")
def climbed(tmp_path_factory, tiny_bert):
    """The run directory of a search, half of which was for unfreezing."""
    folder = tmp_path_factory.mktemp("ladder")
    with (folder / "train.csv").open("w", newline="") as file:
        rows = [[f"the {'cat' if row % 2 else 'dog'} number {row // 4}", row % 2] for row in range(96)]
        csv.writer(file).writerows([["text", "kind"], *rows])
    words = [
        "+task=classification",
        f"data.train={folder / 'train.csv'}",
        "data.folds=1",
        "data.target=kind",
        "data.columns.text=text",
        f"encoder.text.weights=local-dir:{tiny_bert}",
        "encoder.text.tune=[frozen,last_k,full]",
        "training=gradient",
        "training.epochs=2",
        "search.trials=6",
        "search.climb=0.5",
        "search.min_epochs=1",
        "search.max_epochs=1",
        "baselines.unimodal_epochs=1",
        "executor=in_process",
        "export.enabled=false",
        f"run.dir={folder / 'run'}",
        f"cache_dir={folder / 'cache'}",
    ]
    run(to_settings(compose(words), folder, overrides=words))
    return folder / "run"


def test_the_best_heads_are_unfrozen_in_the_end(climbed, capsys):
    from automm.__main__ import main

    assert main(["study", str(climbed), "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)
    tune = "encoder.text.options.transformers.tune"
    assert [trial["candidate"][tune] for trial in trials[:3]] == ["frozen"] * 3
    assert {trial["origin"] for trial in trials[3:]} == {"ladder"}
    assert {trial["candidate"][tune] for trial in trials[3:]} <= {"last_k", "full"}
    assert {trial["state"] for trial in trials} <= {"completed", "pruned"}
    feet = [
        {k: v for k, v in trial["candidate"].items() if ".tune" not in k and ".last_k" not in k} for trial in trials
    ]
    assert all(foot in feet[:3] for foot in feet[3:])


def test_what_is_searched_is_written_down(climbed):
    found = json.loads((climbed / "result.json").read_text())
    assert found["trials"]["total"] == 6
    trial = found["best"]["trial"]
    said = {"frozen"} if trial < 3 else {"last_k", "full"}
    assert any(each.rpartition("tune=")[2] in said for each in found["best"]["overrides"] if "tune=" in each)
