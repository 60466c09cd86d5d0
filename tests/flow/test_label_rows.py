"""Classes whose names say what no training row does."""

import csv

import pytest

from automm.config import compose, to_settings
from automm.flow import Run

KINDS = {"apple-pie": "crust oven", "plum_jam": "jar spread", "pear tree": "garden shade"}


@pytest.fixture
def told(tmp_path):
    """What a run with these overrides scores on test rows that share no word with training rows, only with a name."""
    for name, text in (
        ("train", lambda kind, row: f"{KINDS[kind]} {row}"),
        ("test", lambda kind, row: f"{kind} {row}"),
    ):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            lines = [[text(kind, row), kind] for row in range(8) for kind in KINDS]
            csv.writer(file).writerows([["text", "kind"], *lines])

    def scored(*more):
        words = [
            "+task=classification",
            f"data.train={tmp_path / 'train.csv'}",
            "data.folds=1",
            f"data.test={tmp_path / 'test.csv'}",
            "data.target=kind",
            "data.columns.text=text",
            "encoder.text.name=ngrams",
            "fusion=concat",
            "training=closed_form",
            "search.trials=1",
            "executor=in_process",
            f"run.dir={tmp_path / f'run{len(more)}'}",
            f"cache_dir={tmp_path / 'cache'}",
            *more,
        ]
        with Run(to_settings(compose(words), tmp_path, overrides=words)) as stages:
            return stages.tested["best"]["accuracy"]

    return scored


def test_what_classes_are_called_is_learnt_from(told):
    assert told() > 0.9
    assert told("task.label_rows=false") < 0.6
