"""The last candidates of a search that few rows judged are judged once more, by the training rows."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from automm import flow, runoff
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
    lines = ["text,who,when,number,kind"]
    for row in range(160):
        kind = row // 2 % 4
        words = " ".join(f"w{(kind + draw.integers(3)) % 4}{draw.integers(9)}" for _ in range(3))
        lines.append(f"{words},person {row // 2},{row},{kind + draw.normal():.3f},class {kind}")
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
        "data.drop=[when,number]",
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


def judged_by_hand(stages, number, metric, folder):
    """The mean of a metric over the training rows, each judging a fit to the other folds and the validation rows."""
    splits, total = stages.splits, 0.0
    folder.mkdir(exist_ok=True)
    for fold in range(10):
        out = splits.runoff_folds == fold
        learnt = joined(take(splits.train, np.flatnonzero(~out)), splits.valid)
        own = take(splits.train, np.flatnonzero(out))
        fitted = TrainingObjective(stages.settings, Splits(learnt, own), stages.task, folder).fit(
            stages.searched.trials[number].candidate,
            start=0,
            stop=stages.settings.search.max_epochs,
            resume=None,
            save_to=folder / "state.safetensors",
            report=lambda *_: None,
        )
        total += fitted.result.values[metric] * len(own)
    return total / len(splits.train)


def trial(number, accuracy, state="completed", seconds=1.0, epochs=1):
    return Trial(number, {"at": number}, epochs=epochs, values={"accuracy": accuracy}, state=state, seconds=seconds)


def searched(*trials, best, seconds=100.0):
    return SearchResult(trials[best], list(trials), "trials", seconds)


def test_the_folds_share_out_the_training_rows_and_keep_groups_together(table):
    with started(table) as stages:
        splits = stages.splits
    assert sorted(np.unique(splits.runoff_folds)) == list(range(10))
    assert len(splits.runoff_folds) == len(splits.train)
    texts = [splits.train.columns["text"].values[at] for at in splits.train.columns["text"].index]
    people = {line.split(",")[0]: line.split(",")[1] for line in table.read_text().splitlines()[1:]}
    fold_of = {}
    for text, fold in zip(texts, splits.runoff_folds, strict=True):
        assert fold_of.setdefault(people[text], fold) == fold


def test_contenders_are_judged_by_the_training_rows_each_when_it_was_not_learnt_from(table, capsys):
    with started(table, "executor=processes", "executor.slots=2") as stages:  # as plain objects go to another process
        values = stages.finish().values
        found, rows = stages.searched, len(stages.splits.train)
        for number, judged in found.runoff.values.items():
            by_hand = judged_by_hand(stages, number, "accuracy", table.parent / "by_hand")
            assert judged["accuracy"] == pytest.approx(by_hand)
    assert (found.runoff.rows, found.runoff.folds, len(found.runoff.values)) == (rows, 10, 3)
    assert 0 in found.runoff.values
    accuracies = {number: judged["accuracy"] for number, judged in found.runoff.values.items()}
    assert accuracies[found.best.number] == max(accuracies.values())
    assert values["best"]["valid"]["accuracy"] == accuracies[values["best"]["trial"]]
    assert {int(number) for number in values["best"]["runoff"]["values"]} == set(accuracies)
    assert values["seconds"]["runoff"] > 0
    assert f"once more, by {rows} training rows in 10 folds" in capsys.readouterr().err
    assert not (table.parent / "run" / "checkpoints" / "runoff").exists()
    page = (table.parent / "run" / "report.html").read_text(encoding="utf-8")
    assert f"judged once more by {rows} rows in 10 folds" in page


def test_less_is_better_where_the_metric_is_an_error_and_networks_are_trained_as_long(table):
    more = ["data.target=number", "data.drop=[when,kind]", "training=gradient", "training.batch_size=32"]
    more += ["search.min_epochs=1", "search.max_epochs=2", "training.epochs=3", "data.group=null"]
    words = ["+task=regression", *asked(table, *more)[1:]]
    with Run(to_settings(compose(words), table.parent, overrides=words)) as stages:
        found = stages.searched
        values = {number: judged["rmse"] for number, judged in found.runoff.values.items()}
        assert values[found.best.number] == min(values.values())
        by_hand = judged_by_hand(stages, found.best.number, "rmse", table.parent / "by_hand")
        assert values[found.best.number] == pytest.approx(by_hand)


def test_who_goes_on_from_its_checkpoint_keeps_the_figures_of_the_validation_rows(table):
    with started(table, "training.refit_on_valid=false") as stages:
        values, found = stages.finish().values, stages.searched
    assert found.runoff is not None
    assert values["best"]["valid"]["accuracy"] == found.best.values["accuracy"]


@pytest.mark.parametrize("after", [False, True], ids=["before a fit", "after a fit"])
def test_a_runoff_goes_on_where_it_was_stopped(table, monkeypatch, after):
    fits, fit, stop_at = [], TrainingObjective.fit, [4]

    def counted(self, *given, **more):
        if self.folder.name != "runoff":
            return fit(self, *given, **more)
        if len(fits) == stop_at[0] and not after:
            raise KeyboardInterrupt
        fits.append(more["save_to"].name)
        fitted = fit(self, *given, **more)
        if len(fits) == stop_at[0] and after:
            raise KeyboardInterrupt
        return fitted

    monkeypatch.setattr(TrainingObjective, "fit", counted)
    with pytest.raises(KeyboardInterrupt), started(table) as stages:
        _ = stages.searched
    assert len(fits) == 4
    stop_at[0] = None
    with started(table) as stages:
        resumed = stages.searched
    assert len(set(fits)) == 30
    assert len(fits) == 30 + after  # what was not written down is done again
    with started(table, f"run.dir={table.parent / 'other'}") as stages:
        at_once = stages.searched
    assert resumed.runoff.values == at_once.runoff.values
    assert resumed.best.number == at_once.best.number
    fits.clear()
    with started(table) as stages:
        again = stages.searched  # read, not judged again
    assert not fits
    assert again.runoff == resumed.runoff
    said = json.loads((table.parent / "run" / "checkpoints" / "stages.json").read_text(encoding="utf-8"))["runoff"]
    assert {int(number): values for number, values in said["values"].items()} == again.runoff.values


@pytest.mark.parametrize("asked_for", [False, True], ids=["not asked for", "not measured"])  # the fifth, at first
@pytest.mark.parametrize("trained", [False, True])
def test_others_are_judged_when_the_search_goes_on_but_not_once_the_winner_is_trained(
    table, monkeypatch, trained, asked_for
):
    judged, original = [], runoff.judge_again

    def watched(settings, splits, task, goal, folder, who, *more):
        judged.append([each.number for each in who])
        return original(settings, splits, task, goal, folder, who, *more)

    def cut(*given, **more):
        found = original_search(*given, **more)
        last = replace(found.trials[4], state="running", epochs=0, values={})
        trials = [*found.trials[:4], *([last] if asked_for else [])]
        return replace(found, trials=trials, best=max(found.trials[:4], key=lambda t: t.values["accuracy"]))

    monkeypatch.setattr(runoff, "judge_again", watched)
    original_search = flow.search
    with monkeypatch.context() as patch:
        patch.setattr(flow, "search", cut)  # as if time had been up after four
        with started(table, "search.timeout=1e3") as stages:
            first = stages.searched
            if trained:
                _ = stages.trained
    with started(table, "search.timeout=1e3") as stages:  # nothing has changed since but that there are five
        second, model = stages.searched, stages.trained
    with started(table, "search.timeout=2e3") as stages:  # another limit is no reason
        assert stages.searched.runoff == second.runoff
    assert len(judged) == (1 if trained else 2)
    if trained:
        assert (second.best.number, second.runoff) == (first.best.number, first.runoff)
    assert model.candidate == second.best.candidate


def test_where_a_limit_leaves_no_time_nobody_is_judged_again(table, monkeypatch, capsys):
    monkeypatch.setattr(runoff, "_SHARE", 1e-9)
    with started(table, "search.timeout=1e3") as stages:
        assert stages.searched.runoff is None
    assert "none of 3 last candidates are judged once more" in capsys.readouterr().err


@pytest.mark.parametrize("bad", ["fails", "nan"])
def test_one_that_cannot_be_judged_in_a_fold_is_left_out(table, monkeypatch, capsys, bad):
    with started(table, f"run.dir={table.parent / 'first'}") as stages:
        found = stages.searched
    by_valid = max(found.trials, key=lambda each: each.values["accuracy"]).number
    who = next(n for n in found.runoff.values if n not in (0, by_valid))
    fit = TrainingObjective.fit

    def refusing(self, candidate, *given, **more):
        mine = self.folder.name == "runoff" and more["save_to"].name.startswith(f"{who:04d}-")
        if mine and bad == "fails":
            raise TrialFailed("the fold is too small for it")
        fitted = fit(self, candidate, *given, **more)
        if mine:
            fitted.result.values["accuracy"] = float("nan")
        return fitted

    monkeypatch.setattr(TrainingObjective, "fit", refusing)
    with started(table) as stages:
        without = stages.searched
    assert set(without.runoff.values) == set(found.runoff.values) - {who}
    reason = "the fold is too small for it" if bad == "fails" else "its accuracy is not finite in a fold"
    assert f"trial {who} cannot be judged again: {reason}" in capsys.readouterr().err


def test_where_the_defaults_cannot_be_judged_again_the_search_stands(table, monkeypatch, capsys):
    fit = TrainingObjective.fit

    def refusing(self, candidate, *given, **more):
        if self.folder.name == "runoff" and more["save_to"].name.startswith("0000-"):
            raise TrialFailed("the fold is too small for it")
        return fit(self, candidate, *given, **more)

    with started(table, "search.runoff=0", f"run.dir={table.parent / 'first'}") as stages:
        expected = stages.searched.best.number
    monkeypatch.setattr(TrainingObjective, "fit", refusing)
    with started(table) as stages:
        assert (stages.searched.best.number, stages.searched.runoff) == (expected, None)
    assert "could not be judged again: the search stands as it was" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [
        ["data.folds=3"],
        ["search.runoff=0"],
        ["data.valid={table}", "data.group=null"],
        ["data.time=when", "data.drop=[number]", "data.group=null"],
        ["search.trials=1"],
        ["search.ensemble=2"],
        ["search.soup=2"],
    ],
    ids=lambda more: more[0],
)
def test_nobody_is_judged_again_where_there_is_no_need_or_nothing_to_choose(table, more):
    again = table.parent / "valid.csv"
    again.write_text(table.read_text().replace(",person", " again,person"), encoding="utf-8")
    with started(table, *(word.format(table=again) for word in more)) as stages:
        assert stages.searched.runoff is None


def numbers(found, *, most=2, timeout=None, said=None):
    settings = SimpleNamespace(search=SimpleNamespace(runoff=most, timeout=timeout, max_epochs=9))
    who = contenders(found, ACCURACY, settings, folds=5, say=([] if said is None else said).append)
    return [(each.number, each.epochs) for each in who]


def test_contenders_are_the_defaults_and_the_best_that_were_trained_as_long():
    trials = [
        trial(0, 0.7),
        trial(1, 0.9),
        trial(2, 0.95, "pruned"),
        trial(3, 0.8),
        trial(4, 0.6),
        trial(5, 0.85, epochs=12),
    ]
    found = searched(*trials, best=1)
    assert numbers(found) == [(0, 9), (1, 9), (5, 9)]
    assert [n for n, _ in numbers(found, most=9)] == [0, 1, 5, 3, 4]
    said = []
    assert [n for n, _ in numbers(found, timeout=60.0, said=said)] == [0, 1]  # a fifth is 12 s, two take 10
    assert "2 of 3 last candidates are judged once more: fits of more would take over 12 s" in said[0]
    assert numbers(found, timeout=40.0) == []
    two_workers = replace(found, seconds=sum(each.seconds for each in trials) / 2)
    assert [n for n, _ in numbers(two_workers, timeout=40.0)] == [0, 1, 5]  # 16 s of work in 8 s
    assert numbers(searched(trial(0, 0.7), best=0)) == []
    assert [n for n, _ in numbers(searched(trial(0, 0.9), trial(1, 0.7), best=0))] == [0, 1]


def test_of_the_same_by_another_name_one_is_judged():
    found = searched(trial(0, 0.7), trial(1, 0.9), trial(2, 0.9), trial(3, 0.8), trial(4, 0.7), trial(5, 0.6), best=1)
    assert [n for n, _ in numbers(found, most=3)] == [0, 1, 3, 5]


def test_who_leads_is_judged_wherever_it_came_to():
    cut_short = searched(trial(0, 0.7), trial(1, 0.71), trial(2, 0.83, "pruned", epochs=3), best=2)
    assert numbers(cut_short) == [(0, 9), (2, 3), (1, 9)]
    worse = searched(trial(0, 0.7, "pruned"), trial(1, 0.71), trial(2, 0.83), best=2)
    assert numbers(worse) == [(2, 9), (1, 9)]


def test_the_best_of_the_runoff_wins_and_the_margin_is_counted_in_its_rows():
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


@pytest.mark.parametrize("left", [[], [0], [0, 2], [1, 2], [1]])
def test_without_the_leader_or_the_defaults_the_search_stands(left):
    found = searched(trial(0, 0.7), trial(1, 0.9), trial(2, 0.89), best=1)
    judged = Runoff({number: {"accuracy": 0.8 + number / 100} for number in left}, 2500, 5, 1.0)
    assert decided(found, judged, ACCURACY) is found


def test_among_equals_whoever_led_stays_ahead():
    found = searched(trial(0, 0.7), trial(1, 0.8), trial(2, 0.9), best=2)
    judged = Runoff({number: {"accuracy": 0.8} for number in range(3)}, 2500, 5, 1.0)
    assert decided(found, judged, ACCURACY).best.number == 2
    less = replace(judged, values={number: {"accuracy": 0.8 - number} for number in range(3)})
    assert decided(found, less, Goal("accuracy", "minimize")).best.number == 2
