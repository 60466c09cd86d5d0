"""The scripts of tools/benchmark/emoji are no package: they are imported as they import each other."""

import csv
import json
import sys
from pathlib import Path

import pytest

EMOJI = Path(__file__).parents[2] / "tools" / "benchmark" / "emoji"
sys.path.insert(0, str(EMOJI))

SET = {  # emoji and subcategory, a row each
    "train": [("1F600", "face"), ("1F600", "face"), ("1F1E6", "flag"), ("1F1E7", "flag")],
    "same_vendors": [("1F601", "face"), ("1F601", "face"), ("1F1E8", "flag"), ("1F1E8", "flag")],
    "other_vendors": [("1F601", "face"), ("1F1E8", "flag")],
}
ALL_RIGHT = {"same_vendors": ["face", "face", "flag", "flag"], "other_vendors": ["face", "flag"]}
HALF_RIGHT = {"same_vendors": ["face", "face", "face", "face"], "other_vendors": ["face", "face"]}
VERSIONS = {"automm": "0.1.0", "torch": "2.14.1"}
CPU = {"model": "AMD EPYC", "arch": "x86_64", "flags": ["avx2", "avx512f", "avx512_vnni"], "logical": 2, "physical": 2}


@pytest.fixture(autouse=True)
def nothing_is_fetched(monkeypatch):
    """Whatever breaks in what is tested: a set is 90 MB, AutoGluon 6 GB."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("npm_config_offline", "true")


@pytest.fixture
def compared(tmp_path):
    """What the steps leave under `--out` for seeds 0 and 1, a set of ten rows beside it: files as they write them."""
    (tmp_path / "set").mkdir()
    for split, rows in SET.items():
        with (tmp_path / "set" / f"{split}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("image", "name", "subcategory", "unified", "vendor"))
            writer.writerows((f"img/{emoji}.png", "a name", kind, emoji, "google") for emoji, kind in rows)
    answered = {"both": HALF_RIGHT, "image": HALF_RIGHT, "text": ALL_RIGHT}
    _write(tmp_path / "probe/answers.json", {"seconds": 253.4, "versions": {"timm": "1.0.31"}, "answers": answered})
    peer = {"seconds": {"both": 333.9, "text": 194.6}, "versions": {"autogluon.multimodal": "1.6.3", "torch": "2.12.1"}}
    _write(tmp_path / "autogluon/answers.json", {**peer, "answers": {"both": ALL_RIGHT, "text": HALF_RIGHT}})
    for seed, answers in enumerate((ALL_RIGHT, HALF_RIGHT)):
        _write(tmp_path / f"automm-{seed}/answers.json", answers)
        _write(tmp_path / f"automm-{seed}/result.json", _result(seed))
    _write(tmp_path / "first-trial/first_trial.json", {"launched": 1.87, "done": 4.04})
    steps = ("probe", "autogluon", "automm-0", "automm-1", "first-trial")
    _write(tmp_path / "measured.json", {step: [["2026-11-28", "abc1234"]] for step in steps})
    _write(tmp_path / "caches.json", {"automm-0": "empty", "automm-1": "kept"})
    return tmp_path


def _result(seed):
    """Of result.json what the section reads."""
    return {
        "seed": seed,
        "seconds": {"search": 100.0 + 20 * seed, "runoff": 30.0, "refit": 2.5, "baselines": 3.1, "total": 200.0 + seed},
        "stopped_by": "trials",
        "trials": {"total": 201, "completed": 69, "pruned": 131, "failed": 0, "infeasible": 1},
        "best": {
            "candidate": {"training.solver": "closed_form", "fusion.name": "concat", "training.method": "kernel_ridge"},
            "valid": {"accuracy": 0.787, "loss": 1.04},
        },
        "test": {"accuracy": 0.817, "loss": 0.88},
        "versions": VERSIONS,
        "cpu": CPU,
        "device": "cpu",
    }


def _write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
