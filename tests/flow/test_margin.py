"""The best of a search takes the place of the defaults only where that is more than luck."""

import csv

import numpy as np
import pytest

from automm.config import compose, to_settings
from automm.flow import Run


@pytest.fixture(scope="module")
def best_of(tmp_path_factory):
    """The winner of a search on texts that tell their class now and then, by `search.margin`."""
    folder = tmp_path_factory.mktemp("margin")
    rng = np.random.default_rng(0)
    kinds = [row % 4 for row in range(160)]
    texts = [" ".join(f"w{(kind + rng.integers(3)) % 4}{rng.integers(9)}" for _ in range(3)) for kind in kinds]
    with (folder / "train.csv").open("w", newline="") as file:
        rows = [[text, f"class {kind}"] for text, kind in zip(texts, kinds, strict=True)]
        csv.writer(file).writerows([["text", "kind"], *rows])

    def found(margin):
        words = [
            "+task=classification",
            f"data.train={folder / 'train.csv'}",
            "data.folds=1",
            "data.target=kind",
            "data.columns.text=text",
            "encoder.text.name=ngrams",
            "fusion=concat",
            "training=closed_form",
            "search.trials=8",
            "search.runoff=0",
            f"search.margin={margin}",
            "executor=in_process",
            f"run.dir={folder / f'run{margin}'}",
            f"cache_dir={folder / 'cache'}",
        ]
        with Run(to_settings(compose(words), folder, overrides=words)) as stages:
            return stages.searched, stages.best.number

    return found


def test_without_a_margin_the_best_is_the_best(best_of):
    searched, best = best_of(0)
    values = [trial.values["accuracy"] for trial in searched.trials]
    assert best == int(np.argmax(values)) > 0
    assert searched.passed_over is None


def test_a_lead_within_the_margin_leaves_the_defaults(best_of, capsys):
    searched, best = best_of(10)
    assert best == 0
    assert searched.passed_over.number > 0
    assert "less than search.margin=10: the defaults stay" in capsys.readouterr().err
