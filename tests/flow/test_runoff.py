"""The last candidates of a search that few rows judged are judged once more, by all of them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from automm import runoff as judging
from automm.config import compose, to_settings
from automm.data.split import joined, take
from automm.errors import TrialFailed
from automm.flow import Run
from automm.runoff import contenders, decided, proven
from automm.search.loop import SearchResult
from automm.search.selection import Runoff
from automm.training.objective import TrainingObjective
from automm.trial import Trial
from automm.types import Goal, Splits

ACCURACY = Goal("accuracy", "maximize")


@pytest.fixture
def table(tmp_path):
    """160 rows, two of one person each, whose texts tell their class now and then."""
    draw = np.random.default_rng(0)
    lines = ["text,who,kind"]
    for row in range(160):
        kind = row // 2 % 4
        words = " ".join(f"w{(kind + draw.integers(3)) % 4}{draw.integers(9)}" for _ in range(3))
        lines.append(f"{words},person {row // 2},class {kind}")
    path = tmp_path / "train.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def asked(table, *more):
    return [
        "+task=classification",
        f"data.train={table}",
        "data.target=kind",
        "data.group=who",
        "data.columns.text=text",
        "data.folds=1",
        "encoder.text.name=ngrams",
        "fusion=concat",
        "training=closed_form",
        "search.trials=5",
        "search.runoff=2",
        "search.margin=0",
        "executor=in_process",
        "baselines.unimodal=false",
        "export.enabled=false",
        f"run.dir={table.parent / 'run'}",
        f"cache_dir={table.parent / 'cache'}",
        *more,
    ]


def started(table, *more):
    words = asked(table, *more)
    return Run(to_settings(compose(words), table.parent, overrides=words))


def trial(number, accuracy, state="completed", seconds=1.0):
    return Trial(number, {}, epochs=1, values={"accuracy": accuracy}, state=state, seconds=seconds)


def searched(*trials, best):
    return SearchResult(trials[best], list(trials), "trials", 1.0)


def test_the_folds_share_out_all_rows_and_keep_groups_together(table):
    with started(table) as stages:
        splits = stages.splits
    whole = joined(splits.train, splits.valid)
    assert np.array_equal(np.flatnonzero(splits.runoff == 0), np.arange(len(splits.train), len(whole)))
    assert sorted(np.unique(splits.runoff)) == [0, 1, 2, 3, 4]
    texts = np.array([whole.columns["text"].values[at] for at in whole.columns["text"].index])
    people = {line.split(",")[0]: line.split(",")[1] for line in table.read_text().splitlines()[1:]}
    fold_of = {}
    for text, fold in zip(texts, splits.runoff, strict=True):
        assert fold_of.setdefault(people[text], fold) == fold


def test_contenders_are_judged_by_every_row_each_when_it_was_not_learnt_from(table, capsys):
    with started(table) as stages:
        values = stages.finish().values
        found, splits = stages.searched, stages.splits
    runoff = found.runoff
    assert (runoff.rows, runoff.folds, len(runoff.values)) == (len(splits.runoff), 5, 3)
    assert 0 in runoff.values
    whole = joined(splits.train, splits.valid)
    for number, judged in runoff.values.items():
        right = round(found.trials[number].values["accuracy"] * len(splits.valid))
        for fold in range(1, 5):
            parts = [take(whole, np.flatnonzero(rows)) for rows in (splits.runoff != fold, splits.runoff == fold)]
            objective = TrainingObjective(stages.settings, Splits(*parts), stages.task, table.parent / f"by{fold}")
            (table.parent / f"by{fold}").mkdir(exist_ok=True)
            fitted = objective.fit(
                found.trials[number].candidate,
                start=0,
                stop=1,
                resume=None,
                save_to=table.parent / f"by{fold}" / f"{number}.safetensors",
                report=lambda *_: None,
            )
            right += round(fitted.result.values["accuracy"] * len(parts[1]))
        assert judged["accuracy"] == pytest.approx(right / len(whole))
    best = max(runoff.values, key=lambda number: runoff.values[number]["accuracy"])
    assert values["best"]["valid"]["accuracy"] == runoff.values[values["best"]["trial"]]["accuracy"]
    assert runoff.values[found.best.number]["accuracy"] == runoff.values[best]["accuracy"]
    told = values["best"]["runoff"]
    assert {int(number) for number in told["values"]} == set(runoff.values)
    assert f"once more, by all {len(whole)} rows in 5 folds" in capsys.readouterr().err
    assert not (table.parent / "run" / "checkpoints" / "runoff").exists()
    page = (table.parent / "run" / "report.html").read_text(encoding="utf-8")
    assert f"judged by all {len(whole)} rows in 5 folds" in page


def test_a_runoff_goes_on_where_it_was_stopped(table, monkeypatch):
    fits, fit = [], TrainingObjective.fit
    stop_at = [4]

    def counted(self, *args, **more):
        if self.folder.name == "runoff":
            if len(fits) == stop_at[0]:
                raise KeyboardInterrupt
            fits.append(more["save_to"].name)
        return fit(self, *args, **more)

    monkeypatch.setattr(TrainingObjective, "fit", counted)
    with pytest.raises(KeyboardInterrupt), started(table) as stages:
        _ = stages.searched
    assert len(fits) == 4
    stop_at[0] = None
    with started(table) as stages:
        resumed = stages.searched
    assert len(fits) == len(set(fits)) == 12
    with started(table, f"run.dir={table.parent / 'other'}") as stages:
        at_once = stages.searched
    assert resumed.runoff.values == at_once.runoff.values
    assert resumed.best.number == at_once.best.number
    with started(table) as stages:
        again = stages.searched  # read, not judged again
    assert len(fits) == 24
    assert again.runoff == resumed.runoff


def test_one_that_cannot_be_fitted_to_a_fold_is_left_out(table, monkeypatch, capsys):
    fit = TrainingObjective.fit

    def refusing(self, candidate, *args, **more):
        if self.folder.name == "runoff" and more["save_to"].name.startswith("0000-2"):
            raise TrialFailed("the fold is too small for it")
        return fit(self, candidate, *args, **more)

    monkeypatch.setattr(TrainingObjective, "fit", refusing)
    with started(table) as stages:
        found = stages.searched
    assert 0 not in found.runoff.values
    assert len(found.runoff.values) == 2
    assert "the defaults cannot be judged again: the fold is too small for it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [
        ["data.folds=3"],
        ["search.runoff=0"],
        ["data.valid={table}", "data.drop=[who]", "data.group=null"],
        ["search.trials=1"],
    ],
)
def test_nobody_is_judged_again_where_there_is_no_need_or_nothing_to_choose(table, more):
    again = table.parent / "valid.csv"
    again.write_text(table.read_text().replace("person", "soul").replace(",class", " again,class"), encoding="utf-8")
    with started(table, *(word.format(table=again) for word in more)) as stages:
        assert stages.searched.runoff is None


def test_contenders_are_the_defaults_and_the_best_that_were_trained_as_long():
    found = searched(
        trial(0, 0.7), trial(1, 0.9), trial(2, 0.95, "pruned"), trial(3, 0.8), trial(4, 0.6), trial(5, 0.85), best=1
    )

    def numbers(**more):
        return [each.number for each in contenders(found, ACCURACY, folds=4, **{"most": 2, "limit": None, **more})]

    assert numbers() == [0, 1, 5]
    assert numbers(most=9) == [0, 1, 5, 3, 4]
    assert numbers(limit=11.0) == [0, 1]
    assert numbers(limit=7.0) == []
    assert contenders(searched(trial(0, 0.7), best=0), ACCURACY, 2, folds=4, limit=None) == []


def test_the_best_of_all_rows_wins_and_the_margin_is_counted_in_them():
    found = searched(trial(0, 0.7), trial(1, 0.9), trial(2, 0.89), best=1)
    judged = Runoff({0: {"accuracy": 0.80}, 1: {"accuracy": 0.79}, 2: {"accuracy": 0.81}}, 2500, 5, 1.0)
    won = decided(found, judged, ACCURACY)
    assert won.best.number == 2
    assert won.values_of(won.best) == {"accuracy": 0.81}
    said = []
    kept = proven(won, ACCURACY, 1.0, 400, said.append)  # 0.0078 is an error of 2500 rows, 0.0196 one of 400
    assert kept.best.number == 2
    assert not said
    kept = proven(won, ACCURACY, 1.5, 400, said.append)
    assert (kept.best.number, kept.passed_over.number) == (0, 2)
    assert "1.3 standard errors on 2500 rows in 5 folds, less than search.margin=1.5" in said[0]
    alone = decided(found, replace(judged, values={}), ACCURACY)
    assert (alone.best.number, alone.runoff) == (1, None)


def test_among_equals_whoever_was_ahead_stays_so():
    found = searched(trial(0, 0.7), trial(1, 0.8), trial(2, 0.9), best=2)
    judged = Runoff({number: {"accuracy": 0.8} for number in range(3)}, 2500, 5, 1.0)
    assert decided(found, judged, ACCURACY).best.number == 2


def test_its_figures_reach_the_disk_whole(table):
    with started(table) as stages:
        found = stages.searched
    said = json.loads((table.parent / "run" / "checkpoints" / "stages.json").read_text(encoding="utf-8"))["runoff"]
    assert {int(number): values for number, values in said["values"].items()} == found.runoff.values
    assert judging.time_for(stages.settings) is None
