"""Candidates judged by cross-validation: by every row, each when it was not learnt from."""

import json
import random

import numpy as np
import pytest

from automm.config import compose, to_settings
from automm.data.split import joined, take
from automm.flow import Run
from automm.training.objective import TrainingObjective
from automm.types import Splits

FOLDS = 3
WORDS = {"bird": ("wing", "feather", "nest"), "fish": ("fin", "scale", "water"), "tree": ("leaf", "bark", "root")}


@pytest.fixture
def table(tmp_path):
    """90 rows, two of one person each."""
    draw = random.Random(0)
    lines = ["said,size,who,kind"]
    for i in range(90):
        kind = list(WORDS)[i % 3]
        words = [draw.choice(WORDS[draw.choice([kind, kind, "fish"])]) for _ in range(4)]
        lines.append(f"{' '.join(words)} number {i},{draw.gauss(len(kind), 2):.3f},person {i // 2},{kind}")
    path = tmp_path / "things.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def started(table, *more):
    folder = table.parent
    asked = [
        "+task=classification",
        f"data.train={table}",
        "data.target=kind",
        "data.group=who",
        f"data.folds={FOLDS}",
        "executor=in_process",
        "search.trials=3",
        "search.min_epochs=1",
        "search.max_epochs=3",
        "training.epochs=4",
        "baselines.unimodal=false",
        "baselines.defaults=false",
        f"run.dir={folder / 'run'}",
        f"cache_dir={folder / 'cache'}",
        *more,
    ]
    return Run(to_settings(compose(asked), folder, overrides=asked))


def pairs(splits):
    whole = joined(splits.train, splits.valid)
    for k in range(FOLDS):
        yield Splits(take(whole, np.flatnonzero(splits.folds != k)), take(whole, np.flatnonzero(splits.folds == k)))


def test_every_row_validates_once_and_no_group_is_on_both_sides(table):
    splits = started(table).splits
    folds = list(pairs(splits))
    assert list(folds[0].valid.ids) == list(splits.valid.ids), "the first fold is the run's own"
    assert sorted(i for fold in folds for i in fold.valid.ids) == sorted([*splits.train.ids, *splits.valid.ids])
    assert {len(fold.valid) for fold in folds} <= {24, 25, 26, 27, 28}
    for fold in folds:
        assert not {i // 2 for i in fold.valid.ids} & {i // 2 for i in fold.train.ids}
        counts = [list(fold.valid.targets).count(kind) for kind in WORDS]
        assert max(counts) - min(counts) <= 3, "stratified"


@pytest.mark.parametrize("solver", ["gradient", "closed_form"])
def test_a_trial_is_worth_the_mean_over_its_folds(table, solver):
    with started(table, f"training={solver}") as run:
        found = run.searched
        folder = table.parent
        for trial in found.trials:
            values = []
            for k, fold in enumerate(pairs(run.splits)):
                alone = TrainingObjective(run.settings, fold, run.task, folder / "alone")
                state = folder / f"{trial.number}-{k}.safetensors"
                fitted = alone.fit(
                    trial.candidate, start=0, stop=trial.epochs, resume=None, save_to=state, report=lambda *_: None
                )
                values.append(fitted.result.values)
            for name, value in trial.values.items():
                assert value == pytest.approx(np.mean([each[name] for each in values]), abs=1e-6), name
        if solver == "gradient":
            assert {trial.epochs for trial in found.trials} == {1, 3}, "some were taken on, in every fold"
        assert not list((folder / "run" / "checkpoints" / "trials").glob("fold*")), "nobody goes on from there"


def test_a_run_over_folds_is_whole(table):
    with started(table, "training=closed_form") as run:
        run.finish()
    folder = table.parent / "run"
    values = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert values["best"]["valid"]["accuracy"] == pytest.approx(run.best.values["accuracy"])
    assert (folder / "bundle").is_dir()
    assert values["calibration"]["temperature"] > 0
