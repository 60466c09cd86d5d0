import json
import re
import shutil
import signal
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import yaml

from automm import flow
from automm.choices import for_modalities
from automm.config import compose, to_settings
from automm.errors import DataError, StudyError
from automm.export.checkpoint import load_model
from automm.flow import Run, run
from automm.runtime import Predictor
from automm.search.study import Study

from .conftest import SMALL, killed_at, settings_in, stored, without_times

SUBTYPES = ("shape", "left", "top", "closest", "furthest", "count")


def test_the_run_directory_is_complete(finished):
    names = {path.name for path in finished.run_dir.iterdir()}
    wanted = {"config.yaml", "study.db", "checkpoints", "log.jsonl", "report.html", "bundle", "result.json"}
    assert wanted <= names


def test_result_json_keeps_its_contract(finished):
    values = stored(finished.run_dir)
    assert values["schema"] == 1
    assert values["task"] == "vqa"
    assert values["seed"] == 0
    assert set(values["seconds"]) == {"search", "refit", "baselines", "total"}
    assert values["stopped_by"] == "trials"
    assert values["trials"]["total"] == sum(n for state, n in values["trials"].items() if state != "total") == 3
    assert set(values["baselines"]) == {"majority", "image_only", "text_only", "defaults"}
    for measured in (values["test"], *values["baselines"].values()):
        assert {"accuracy", "accuracy/relational", "accuracy/non_relational", "loss"} <= set(measured)
        assert {f"accuracy/{name}" for name in SUBTYPES} <= set(measured)
    assert values["data"]["rows"]["test"] == values["explained"]["rows"]
    assert values["data"]["skipped"] == []
    assert [(each["name"], each["modality"]) for each in values["data"]["columns"]] == [
        ("image", "image"),
        ("question", "text"),
    ]
    assert values["data"]["columns"][1]["missing"] == {"train": 0, "valid": 0, "test": 0}
    assert values["data"]["unseen"] == {}
    assert values["bundle"] == "bundle"
    assert values["versions"]["automm"]
    assert values["cpu"]["flags"] is not None
    assert values["device"] == (torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu")


def test_result_json_says_how_sure_the_test_is(finished):
    values = stored(finished.run_dir)
    said = values["uncertainty"]
    assert (said["metric"], said["units"], said["groups"]) == ("accuracy", 12, 12)  # images, of 20 questions each
    assert said["winner"]["low"] < said["winner"]["value"] == values["test"]["accuracy"] < said["winner"]["high"]
    assert set(said["ahead"]) == set(said["baselines"]) == set(values["baselines"])
    for name, ahead in said["ahead"].items():
        lead = values["test"]["accuracy"] - values["baselines"][name]["accuracy"]
        assert ahead is None or ahead["value"] == pytest.approx(lead)


def test_what_the_winner_relies_on_is_measured_on_the_test(finished):
    values = stored(finished.run_dir)
    about = values["explained"]
    assert (about["split"], about["rows"], about["metric"]) == ("test", 240, "accuracy")
    assert about["whole"] == pytest.approx(values["test"], abs=1e-4)
    assert set(values["removed"]) == set(values["importance"]) == {"image", "text"}
    assert set(values["removed"]["text"]) == set(values["test"])
    assert values["removed"]["text"]["accuracy"] < values["test"]["accuracy"]
    assert values["importance"]["text"]["drop"] > values["importance"]["text"]["spread"]


def test_the_winner_is_calibrated_by_its_own_validation_rows(finished):
    values = stored(finished.run_dir)["calibration"]
    assert values["fitted_by"] == "winner"
    saved = load_model(finished.run_dir / "checkpoints" / "best")
    assert float(saved.model.temperature) == pytest.approx(values["temperature"])
    assert values["temperature"] != 1
    assert sum(each["rows"] for each in values["bins_after"]) == 240
    assert 0 <= values["ece_after"] <= 1


def test_accuracy_is_that_of_the_stored_predictions(finished):
    answers = json.loads((finished.run_dir / "predictions.json").read_text())
    settings = to_settings(compose([*SMALL]), finished.run_dir.parent)
    from automm import registry

    source = registry.get("data", "sort_of_clevr").factory(**settings.data.options)
    test = source.load(0, finished.run_dir.parent / "cache").test
    right = np.mean([a["answer"] == t for a, t in zip(answers, test.targets, strict=True)])
    assert right == pytest.approx(stored(finished.run_dir)["test"]["accuracy"])


def test_best_overrides_reproduce_the_candidate(finished):
    best = stored(finished.run_dir)["best"]
    again = to_settings(compose(best["overrides"]), finished.run_dir.parent)
    decided = for_modalities(again.space, ("image", "text"))
    assert decided.defaults() == best["candidate"]
    assert decided.cardinality() == 1


def test_the_bundle_answers_as_the_run_did(finished):
    answers = json.loads((finished.run_dir / "predictions.json").read_text())
    from automm import registry

    source = registry.get("data", "sort_of_clevr").factory(train_images=40, valid_images=12, test_images=12)
    test = source.load(0, finished.run_dir.parent / "cache").test
    predicted = Predictor.open(finished.run_dir / "bundle").predict([test.row(at) for at in range(40)])
    agreed = [p["answer"] == a["answer"] for p, a in zip(predicted, answers[:40], strict=True)]
    assert np.mean(agreed) >= 0.95  # equal but for ties in the last digits


def test_the_bundle_is_made_before_the_last_baselines_are(finished):
    made = (finished.run_dir / "bundle" / "model.fp32.onnx").stat().st_mtime_ns
    assert made < (finished.run_dir / "checkpoints" / "text_only" / "model.json").stat().st_mtime_ns


def test_of_a_large_table_it_is_made_last(tmp_path, monkeypatch):
    monkeypatch.setattr(flow, "_LARGE", 100)
    folder = run(settings_in(tmp_path, "search.trials=1")).run_dir
    made = (folder / "bundle" / "model.fp32.onnx").stat().st_mtime_ns
    models = [path.stat().st_mtime_ns for path in (folder / "checkpoints").glob("*/model.json")]
    assert len(models) > 2
    assert made > max(models)
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text())
    assert manifest["graphs"][0]["variants"][0]["latency"]


def test_the_report_needs_no_network_and_shows_the_samples(finished):
    class Sources(HTMLParser):
        found: list[str]

        def handle_starttag(self, tag, attrs):
            self.found += [value for name, value in attrs if name in ("src", "href") and value]

    parser = Sources()
    parser.found = []
    parser.feed((finished.run_dir / "report.html").read_text())
    assert not [url for url in parser.found if url.startswith("http")]
    assert sum(url.startswith("data:image/png") for url in parser.found) >= 6


def test_a_finished_run_is_shown_again_and_not_done_again(finished, capsys):
    before = (finished.run_dir / "result.json").stat().st_mtime_ns
    again = run(settings_in(finished.run_dir.parent))
    assert again.values == stored(finished.run_dir)
    assert (finished.run_dir / "result.json").stat().st_mtime_ns == before
    assert "test accuracy" in capsys.readouterr().out


def test_other_settings_in_the_same_directory_are_refused(finished):
    with pytest.raises(StudyError, match=r"seed was 0 and is now 1.*Next:"):
        run(settings_in(finished.run_dir.parent, "seed=1"))


def test_the_time_limit_may_change_between_sessions(finished):
    assert run(settings_in(finished.run_dir.parent, "search.timeout=900")).values["schema"] == 1


def test_the_same_seed_gives_the_same_numbers(finished, tmp_path):
    shutil.copytree(finished.run_dir.parent / "cache", tmp_path / "cache")
    again = run(settings_in(tmp_path))
    assert without_times(stored(again.run_dir)) == without_times(stored(finished.run_dir))


@pytest.mark.parametrize(
    ("marker", "signal_number"),
    [('"event": "tell"', signal.SIGKILL), ('"model": "best"', signal.SIGKILL), ('"event": "launch"', signal.SIGINT)],
)
def test_a_run_that_was_ended_goes_on_to_the_same_numbers(finished, tmp_path, marker, signal_number):
    shutil.copytree(finished.run_dir.parent / "cache", tmp_path / "cache")
    killed_at(tmp_path, marker, signal_number)
    assert not (tmp_path / "run" / "result.json").exists()
    again = run(settings_in(tmp_path))
    assert without_times(stored(again.run_dir)) == without_times(stored(finished.run_dir))
    seconds = stored(again.run_dir)["seconds"]
    assert seconds["total"] >= seconds["search"] + seconds["refit"] + seconds["baselines"]


def test_bad_data_leaves_no_run_behind(tmp_path):
    asked = ["+task=vqa", "data=vqa_v2", f"data.questions={tmp_path / 'none.json'}", "data.annotations=x.json"]
    settings = to_settings(compose([*asked, "data.images=.", f"run.dir={tmp_path / 'run'}"]), tmp_path)
    with pytest.raises(DataError, match=r"none\.json"):
        run(settings)
    assert not (tmp_path / "run").exists()


def test_the_study_lists_what_the_result_counts(finished):
    from automm.search.history import trials_table

    with Study.open(finished.run_dir / "study.db", readonly=True) as study:
        rows = trials_table(study)
    assert len(rows) == stored(finished.run_dir)["trials"]["total"]
    defaults = for_modalities(settings_in(finished.run_dir.parent).space, ("image", "text")).defaults()
    rounded = {path: float(f"{value:.6g}") if isinstance(value, float) else value for path, value in defaults.items()}
    assert rows[0]["candidate"] == rounded


def test_config_yaml_is_the_whole_configuration(finished):
    config = yaml.safe_load((finished.run_dir / "config.yaml").read_text())
    assert config["data"]["train_images"] == 40
    assert config["search"]["trials"] == 3


def test_a_candidate_of_too_many_operations_is_infeasible_and_says_so(finished, tmp_path):
    shutil.copytree(finished.run_dir.parent / "cache", tmp_path / "cache")
    pinned = ("encoder.text.options.text_transformer.layers=0", "training.hidden=64", "search.max_epochs=1")

    def gflop(stages, candidate):
        return stages.objective.operations(candidate).total

    with Run(settings_in(tmp_path, *pinned)) as stages:
        cheap, dear = (
            gflop(stages, stages.space.narrow("fusion.name", n).defaults()) for n in ("concat", "cross_attention")
        )
    assert cheap < dear
    limit = (cheap + dear) / 2
    with Run(settings_in(tmp_path, *pinned, f"search.max_gflop={limit}")) as stages:
        trials = stages.searched.trials
        over = [trial for trial in trials if gflop(stages, trial.candidate) > limit]
    assert over == [trial for trial in trials if trial.state == "infeasible"]
    assert {trial.candidate["fusion.name"] for trial in over} == {"cross_attention"}
    said = r"one training row takes \S+ GFLOP forward, over the limit search\.max_gflop=\S+"
    assert all(re.fullmatch(said, trial.reason) for trial in over)
    assert sum(trial.state == "completed" for trial in trials) == 3, "what is refused costs nothing of the budget"


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("search.trials=49",), {"slots": 2, "ahead": None}),
        (("search.trials=50",), {"slots": 2, "ahead": 3}),
        (("search.trials=50", "executor.ahead=0"), {"slots": 2, "ahead": 0}),
    ],
)
def test_long_searches_let_more_jobs_wait(tmp_path, words, options):
    asked = settings_in(tmp_path, "executor=processes", "executor.slots=2", *words)
    assert Run(asked).settings.search.executor.options == options
