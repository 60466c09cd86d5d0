"""Tasks whose answers are no single label, from a table to the bundle's answers."""

import json

import pytest

from automm.config import compose, to_settings
from automm.flow import Run, run
from automm.runtime import Predictor

COLOURS = ("red", "green", "blue")


def a_table(folder, target):
    rows = [f"a {COLOURS[n % 3]} thing and a {COLOURS[n % 2]} one number {n},{target(n)}" for n in range(72)]
    path = folder / "rows.csv"
    path.write_text("\n".join(["words,wanted", *rows]) + "\n")
    return path


def finished(task, path, folder):
    asked = [
        f"+task={task}",
        f"data.train={path}",
        "data.folds=1",
        "data.target=wanted",
        "fusion=concat",
        "search.trials=1",
        "executor=in_process",
        "search.min_epochs=1",
        "search.max_epochs=2",
        "training.epochs=2",
        f"run.dir={folder / 'run'}",
        f"cache_dir={folder / 'cache'}",
    ]
    return run(to_settings(compose(asked), folder, overrides=asked))


@pytest.mark.parametrize(
    ("task", "target", "metrics", "kind"),
    [
        ("regression", lambda n: 1000 + 10 * (n % 3), {"rmse", "mae", "r2", "loss"}, float),
        ("multilabel", lambda n: f'"{COLOURS[n % 3]}, {COLOURS[n % 2]}"', {"f1", "f1_macro", "map", "loss"}, list),
    ],
)
def test_a_run_of_another_task(task, target, metrics, kind, tmp_path):
    done = finished(task, a_table(tmp_path, target), tmp_path)
    assert metrics <= set(done.values["test"])
    assert metrics <= set(done.values["baselines"]["majority"])
    sure = done.values["uncertainty"]
    assert sure["metric"] == ("f1" if kind is list else "rmse")
    assert sure["winner"] is None or sure["winner"]["value"] == done.values["test"][sure["metric"]]
    answers = json.loads((done.run_dir / "predictions.json").read_text())
    assert all(isinstance(answer["prediction"], kind) for answer in answers)
    page = (done.run_dir / "report.html").read_text()
    assert ("✗ " in page or "✓ " in page) == (kind is list)  # a number is neither right nor wrong
    served = Predictor.open(done.run_dir / "bundle").predict([{"words": "a red thing and a green one"}])
    assert isinstance(served[0]["answer"], kind)


def test_a_target_may_be_a_list(tmp_path):
    rows = [{"words": f"a thing number {n}", "wanted": ["a", "b"][: n % 3]} for n in range(40)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ["+task=multilabel", f"data.train={path}", "data.folds=1", "data.target=wanted"]
    asked.append(f"run.dir={tmp_path / 'run'}")
    stages = Run(to_settings(compose(asked), tmp_path, overrides=asked))
    assert stages.task.labels == ("a", "b")
    assert {tuple(target) for target in stages.splits.train.targets} == {(), ("a",), ("a", "b")}
