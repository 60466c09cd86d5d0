"""Metrics by name through a whole run: the objective is one of them, another is a session's own."""

import json

import pytest

from automm import registry
from automm.config import compose, to_settings
from automm.flow import run
from automm.metrics.metric import metric

COLOURS = ("red", "green", "blue")


@pytest.fixture
def missed_red(monkeypatch):
    monkeypatch.setattr(registry, "_session", {})

    @registry.register("metric", "missed_red")
    @metric(higher_is_better=False, reads=("classes",), per_row=True)
    def missed_red(scores_BC, label_B):
        """The share of all rows that are red (the last class) and are answered otherwise."""
        return float(((label_B == 2) & (scores_BC.argmax(1) != 2)).mean())

    yield "missed_red"
    registry.get.cache_clear()


def test_a_run_is_measured_by_named_metrics_and_driven_by_one(missed_red, tmp_path, capsys):
    lines = [f"thing number {n} of a {COLOURS[n % 3]} kind,{COLOURS[n % 3]}" for n in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["words,wanted", *lines]) + "\n")
    asked = [
        "+task=classification",
        f"data.train={tmp_path / 'rows.csv'}",
        "data.folds=1",
        "data.target=wanted",
        f"task.metrics=[auroc,{missed_red}]",
        "search.objective=f1",
        "fusion=concat",
        "search.trials=2",
        "search.min_epochs=1",
        "search.max_epochs=2",
        "training.epochs=2",
        "executor=in_process",
        f"run.dir={tmp_path / 'run'}",
        f"cache_dir={tmp_path / 'cache'}",
    ]
    done = run(to_settings(compose(asked), tmp_path, overrides=asked))
    values = json.loads((tmp_path / "run" / "result.json").read_text())
    named = {"accuracy", "loss", "f1", "auroc", missed_red}
    assert values["goal"] == {"metric": "f1", "direction": "maximize"}
    assert values["directions"].keys() == named
    assert values["directions"][missed_red] == "minimize"
    for measured in (values["best"]["valid"], values["test"], *values["baselines"].values()):
        assert named <= set(measured)
    assert values["baselines"]["majority"]["auroc"] == 0.5
    assert done.values["best"]["overrides"][:5] == asked[:5]
    shown = capsys.readouterr().out
    assert "test f1" in shown
    assert "missed red (lower is better)" in shown
    assert "missed red (lower is better)" in (tmp_path / "run" / "report.html").read_text()
