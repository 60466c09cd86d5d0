"""What a run keeps when a part of it fails at the end."""

import json

import pytest

from automm import registry
from automm.config import compose, to_settings
from automm.errors import ConfigError, ExportError, StudyError, TrialFailed
from automm.flow import run
from automm.training.gradient import Gradient

from .conftest import SMALL

HORIZON = 4  # training.epochs of SMALL


def settings_in(folder, cache, *more):
    asked = [*SMALL, f"cache_dir={cache}", f"run.dir={folder / 'run'}", *more]
    return to_settings(compose(asked), folder, overrides=asked)


@pytest.fixture
def cache(finished):
    """The data of the run that other tests look at: generated once."""
    return finished.run_dir.parent / "cache"


@pytest.fixture
def brittle(monkeypatch):
    """A solver that trains for real, and fails where the list says so."""
    fails = []

    class Brittle(Gradient):
        """Gradients, until something breaks."""

        def fit(self, job, report):
            if any(when(job) for when in fails):
                raise TrialFailed("the loss became NaN")
            return super().fit(job, report)

    monkeypatch.setattr(registry, "_session", {("solver", "brittle"): Brittle})
    registry.get.cache_clear()
    yield fails
    registry.get.cache_clear()


def long(job):
    return job.stop_epoch == HORIZON


def test_a_baseline_that_fails_is_left_out(tmp_path, cache, brittle, capsys):
    brittle.append(lambda job: len(job.train.table.schema.inputs) == 1)
    done = run(settings_in(tmp_path, cache, "training.solver=brittle"))
    assert set(done.values["baselines"]) == {"majority", "defaults"}
    assert done.values["test"]["accuracy"] > 0
    assert "no baseline `image_only`: the loss became NaN" in capsys.readouterr().err


def test_a_winner_that_cannot_be_trained_to_the_end_passes_its_place_on(tmp_path, cache, brittle, capsys):
    failed = []

    def first_winner(job):
        if job.save_to.stem == "best" and not failed:
            failed.append(job)
            return True
        return False

    brittle.append(first_winner)
    done = run(settings_in(tmp_path, cache, "training.solver=brittle"))
    told = capsys.readouterr().err
    assert "cannot be trained to the end: the loss became NaN; next is" in told
    loser = int(told.split("cannot be trained")[0].rsplit("trial ", 1)[1])
    assert done.values["best"]["trial"] != loser
    assert (done.run_dir / "bundle" / "manifest.json").is_file()
    stages = json.loads((done.run_dir / "checkpoints" / "stages.json").read_text())
    assert stages["given_up"] == {"trials": [loser]}


def test_when_nobody_can_be_trained_to_the_end_the_reason_is_said(tmp_path, cache, brittle):
    brittle.append(long)
    with pytest.raises(StudyError, match=r"because of this: the loss became NaN.*Next:"):
        run(settings_in(tmp_path, cache, "training.solver=brittle"))


def test_a_failed_export_keeps_the_figures(tmp_path, cache, capsys):
    with pytest.raises(ExportError, match=r"whole but for its bundle"):
        run(settings_in(tmp_path, cache, "export.tolerance=0", "search.trials=1", "baselines.unimodal=false"))
    stored = json.loads((tmp_path / "run" / "result.json").read_text())
    assert stored["bundle"] is None
    assert stored["test"]["accuracy"] > 0
    assert (tmp_path / "run" / "report.html").is_file()
    assert "test accuracy" in capsys.readouterr().out
    assert not (tmp_path / "run" / "bundle").exists()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("strategy=nevergrad", "strategy.optimizer=NelderMead"), "NelderMead"),
        (("executor.slots=0",), "slots=0"),
        (("executor.slots=2", "executor.ahead=-1"), "ahead=-1"),
    ],
)
def test_what_the_search_cannot_be_made_from_leaves_no_run_behind(tmp_path, cache, wrong, said):
    more = ("executor=processes",) if wrong[0].startswith("executor.") else ()
    with pytest.raises(ConfigError, match=said):
        run(settings_in(tmp_path, cache, *more, *wrong))
    assert not (tmp_path / "run").exists()


def test_a_test_without_answers_is_answered(tmp_path):
    rows = [f"{'wet' if i % 2 else 'dry'} day number {i},{'rain' if i % 2 else 'sun'}" for i in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["text,sky", *rows]) + "\n")
    (tmp_path / "test.csv").write_text("text\nwet day in june\ndry day in july\n")
    asked = [
        "+task=classification", f"data.train={tmp_path / 'train.csv'}", f"data.test={tmp_path / 'test.csv'}",
        "data.target=sky", "data.columns.text=text", "encoder/text=ngrams", "training=closed_form",
        "training.method=ridge", "search.trials=1", "executor=in_process", f"run.dir={tmp_path / 'run'}",
        f"cache_dir={tmp_path / 'cache'}",
    ]  # fmt: skip
    done = run(to_settings(compose(asked), tmp_path, overrides=asked))
    assert done.values["test"] == {}
    answers = json.loads((done.run_dir / "predictions.json").read_text())
    assert [each["prediction"] for each in answers] == ["rain", "sun"]
    assert "Rows of the validation set" in (done.run_dir / "report.html").read_text()


def test_a_line_of_the_log_that_a_kill_cut_short_stays_alone(tmp_path):
    from automm.run_dir import RunDir

    folder = RunDir(tmp_path / "run")
    folder.create({})
    folder.log("one")
    with (folder.path / "log.jsonl").open("a") as file:
        file.write('{"event": "tw')
    folder.log("three")
    lines = (folder.path / "log.jsonl").read_text().splitlines()
    assert [line[:14] for line in lines[1:2]] == ['{"event": "tw']
    assert [json.loads(lines[at])["event"] for at in (0, 2)] == ["one", "three"]
