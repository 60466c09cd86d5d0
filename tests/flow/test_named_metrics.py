"""Metrics by name through a whole run: the objective is one of them, another is a session's own."""

import json
import sys

import pytest
from strangers import lay_down

from automm import registry
from automm.config import compose, to_settings
from automm.flow import run
from automm.metrics.metric import metric
from automm.testing import check_component

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


def asked_for(folder, *metrics):
    lines = [f"thing number {n} of a {COLOURS[n % 3]} kind,{COLOURS[n % 3]}" for n in range(60)]
    (folder / "rows.csv").write_text("\n".join(["words,wanted", *lines]) + "\n")
    return [
        "+task=classification",
        f"data.train={folder / 'rows.csv'}",
        "data.folds=1",
        "data.target=wanted",
        *metrics,
        "fusion=concat",
        "search.trials=2",
        "search.min_epochs=1",
        "search.max_epochs=2",
        "training.epochs=2",
        "executor=in_process",
        f"run.dir={folder / 'run'}",
        f"cache_dir={folder / 'cache'}",
    ]


def test_a_run_is_measured_by_named_metrics_and_driven_by_one(missed_red, tmp_path, capsys):
    asked = asked_for(tmp_path, f"task.metrics=[auroc,{missed_red}]", "search.objective=f1")
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


ALARMS = '''
from automm.metrics.metric import metric


@metric(higher_is_better=False, reads=("classes",))
def missed_alarms(scores_BC, label_B):
    """The share of rows that are alarms (class 0) and are answered otherwise."""
    return float(((label_B == 0) & (scores_BC.argmax(1) != 0)).mean())
'''


@pytest.fixture
def a_strangers_metric(tmp_path, monkeypatch):
    """As docs/metrics.md tells strangers to ship one."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    entry = "[automm.metric]\nmissed_alarms = stranger_alarms.metrics:missed_alarms\n"
    lay_down(site, "stranger_alarms", entry, {"stranger_alarms/__init__.py": "", "stranger_alarms/metrics.py": ALARMS})
    registry.get.cache_clear()
    yield "missed_alarms"
    registry.get.cache_clear()
    for module in [name for name in sys.modules if name.startswith("stranger_alarms")]:
        del sys.modules[module]


def test_a_metric_that_a_distribution_ships_is_one_like_any_other(a_strangers_metric, tmp_path):
    component = registry.get("metric", a_strangers_metric)
    assert (component.origin, component.version) == ("stranger_alarms", "1.0")
    (listed,) = [each for each in registry.listing(["metric"]) if each.name == a_strangers_metric]
    assert (listed.origin, listed.health) == ("stranger_alarms", "ready")
    check_component("metric", a_strangers_metric)
    objective = f"search.objective={a_strangers_metric}"
    asked = asked_for(tmp_path, f"task.metrics=[{a_strangers_metric}]", objective, "export.enabled=false")
    values = run(to_settings(compose(asked), tmp_path, overrides=asked)).values
    assert values["goal"] == {"metric": a_strangers_metric, "direction": "minimize"}
    for measured in (values["best"]["valid"], values["test"], values["baselines"]["majority"]):
        assert 0 <= measured[a_strangers_metric] <= 1
