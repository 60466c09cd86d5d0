import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import yaml
from PIL import Image

from automm import AutoTrainer
from automm.config import compose, to_settings
from automm.errors import ConfigError, DataError, OutOfRange, UnknownComponent, UnknownKey
from automm.runtime import Predictor
from automm.types import Goal

SMALL = (
    "data.train_images=20",
    "data.valid_images=6",
    "data.test_images=6",
    "executor=in_process",
    "search.min_epochs=1",
    "search.max_epochs=1",
    "training.epochs=1",
    "baselines.unimodal_epochs=1",
)
SPACE = {"fusion.name": ["concat", "gated"], "training.batch_size": 200}


@pytest.fixture
def trainer(tmp_path, finished):
    """On the data that the finished run generated, or a few rows more of it."""
    more = [*SMALL, f"cache_dir={finished.run_dir.parent / 'cache'}"]
    with AutoTrainer(
        "sort_of_clevr", search_space=SPACE, max_trials=2, run_dir=tmp_path / "run", overrides=more
    ) as made:
        yield made


def test_the_search_gives_a_configuration_of_the_space(trainer):
    best = trainer.hyperopt()
    assert best["fusion.name"] in ("concat", "gated")
    assert best["training.batch_size"] == 200
    trainer.space.check(best)


def test_loss_is_minimised(trainer):
    trainer.hyperopt(objective="loss")
    values = trainer.finish().values
    assert values["goal"] == {"metric": "loss", "direction": "minimize"}
    assert yaml.safe_load((trainer.run_dir / "config.yaml").read_text())["search"]["objective"] == "loss"
    assert "search.objective=loss" in values["best"]["overrides"]
    rows = trainer._stages.searched.trials
    assert values["best"]["trial"] == min(rows, key=lambda t: t.values["loss"]).number


def test_a_function_of_targets_and_predictions_drives_the_search(trainer):
    seen = set()

    def share_of_yes(targets, predictions):
        assert len(targets) == len(predictions)
        seen.add(len(targets))
        return np.mean([p == "yes" for p in predictions])

    trainer.hyperopt(objective=share_of_yes, direction="maximize")
    trials = trainer._stages.searched.trials
    assert trainer._stages.best.values["share_of_yes"] == max(t.values["share_of_yes"] for t in trials)
    assert seen == {120}
    values = trainer.finish().values
    assert 0 <= values["test"]["share_of_yes"] <= 1
    assert seen == {120, values["data"]["rows"]["test"]}  # of all rows or none: it may be slow
    assert values["uncertainty"] is None


def test_a_metric_by_name_drives_the_search(trainer):
    trainer.hyperopt(objective="f1_macro")
    stages = trainer._stages
    assert stages.goal == Goal("f1_macro", "maximize")
    assert stages.best.values["f1_macro"] == max(t.values["f1_macro"] for t in stages.searched.trials)


@pytest.mark.parametrize("objective", ["f1_marco", "accuracy/relatonal", "rmse"])
def test_an_unknown_objective_is_refused_before_any_work(trainer, objective):
    with pytest.raises(UnknownComponent, match=f"search.objective={objective}: .* Known: "):
        trainer.hyperopt(objective=objective)
    assert not trainer.run_dir.exists()


def test_a_function_needs_a_direction(trainer):
    with pytest.raises(ConfigError, match="needs a direction"):
        trainer.hyperopt(objective=lambda targets, predictions: 0.0)


def test_a_given_configuration_is_trained_and_served(trainer, tmp_path):
    config = trainer.space.defaults() | {"training.lr": 0.001}
    trainer.fit(config)
    assert trainer._stages.best.candidate == config
    assert not (trainer.run_dir / "bundle").exists()
    assert 0 <= trainer.evaluate("valid")["accuracy"] <= 1
    assert 0 <= trainer.evaluate()["accuracy"] <= 1
    Image.new("RGB", (75, 75), "white").save(tmp_path / "scene.png")
    answers = trainer.predict([{"image": tmp_path / "scene.png", "question": "Is the red object on the left?"}])
    assert answers[0] in trainer._stages.task.labels


def test_the_report_finishes_the_run(trainer):
    assert trainer.report().read_text().startswith("<!")
    assert json.loads((trainer.run_dir / "result.json").read_text())["schema"] == 1


def test_task_and_target_are_inferred_with_a_reason(tmp_path, caplog):
    rows = "".join(f"{i % 2},word {i} of many\n" for i in range(40))
    (tmp_path / "corpus.csv").write_text("Outcome,text\n" + rows)
    with caplog.at_level(logging.INFO, logger="automm"):
        made = AutoTrainer(tmp_path / "corpus.csv", run_dir=tmp_path / "run")
    assert made.settings.task.name == "classification"
    assert made.settings.data.options["target"] == "Outcome"
    assert "by its name" in caplog.text


@pytest.mark.parametrize(
    ("rows", "task", "why"),
    [
        ([{"wanted": i / 2} for i in range(40)], "regression", "numbers with fractions"),
        ([{"wanted": i} for i in range(40)], "regression", "40 different numbers"),
        ([{"wanted": i % 3} for i in range(40)], "classification", "3 different values"),
        ([{"wanted": "ab"[i % 2]} for i in range(40)], "classification", "2 different values"),
        ([{"wanted": ["a", "b"][: i % 3]} for i in range(40)], "multilabel", "lists of labels"),
    ],
)
def test_the_target_says_which_task_it_is(rows, task, why, tmp_path, caplog):
    table = tmp_path / "t.jsonl"
    table.write_text("".join(json.dumps({"text": f"row {i}", **row}) + "\n" for i, row in enumerate(rows)))
    with caplog.at_level(logging.INFO, logger="automm"):
        assert AutoTrainer(table, run_dir=tmp_path / "run").settings.task.name == task
    assert why in caplog.text


def test_encoders_of_absent_modalities_are_neither_searched_nor_asked_for(tmp_path):
    (tmp_path / "corpus.csv").write_text("text,label\n" + "".join(f"word {i} of many,{i % 2}\n" for i in range(40)))
    options = {"overrides": ["training.epochs=1", "search.min_epochs=1", "search.max_epochs=1", "fusion=concat"]}
    with AutoTrainer(tmp_path / "corpus.csv", run_dir=tmp_path / "run", **options) as made:
        assert any(path.startswith("encoder.image.") for path in made.settings.space.params)
        best = made.space.defaults()
        assert {path.split(".")[1] for path in best if path.startswith("encoder.")} == {"text"}
    with AutoTrainer(tmp_path / "corpus.csv", run_dir=tmp_path / "again", **options) as again:
        again.fit(best)
        assert again._stages.best.candidate == best
    short = {path: value for path, value in best.items() if path != "encoder.text.name"}
    with AutoTrainer(tmp_path / "corpus.csv", run_dir=tmp_path / "third", **options) as third:
        with pytest.raises(UnknownKey, match=r"encoder\.text\.name"):
            third.fit(short)
        assert not (tmp_path / "third").exists()


def test_an_unknown_data_set_is_refused():
    with pytest.raises(DataError, match="sort_of_clevr"):
        AutoTrainer("sort_of_clever")


def test_a_value_outside_the_space_is_refused_before_any_work(tmp_path):
    with pytest.raises(OutOfRange, match=r"training\.lr"):
        AutoTrainer("sort_of_clevr", search_space={"training.lr": 7.0}, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_split_of_that_name(trainer):
    with pytest.raises(ConfigError, match="valid"):
        trainer.evaluate("vaild")


def test_a_text_model_of_its_own_takes_the_place_of_the_presets(tmp_path, tiny_bert):
    (tmp_path / "corpus.csv").write_text("text,label\n" + "".join(f"the red cat {i},{i % 2}\n" for i in range(40)))
    options = {"max_trials": 1, "overrides": [*SMALL[3:], f"cache_dir={tmp_path / 'cache'}"]}
    with AutoTrainer(tmp_path / "corpus.csv", model_name=str(tiny_bert), run_dir=tmp_path / "run", **options) as made:
        best = made.hyperopt()
        assert best["encoder.text.name"] == "transformers"
        assert best["encoder.text.options.transformers.weights"] == f"local-dir:{tiny_bert}"
        assert 0 <= made.fit().evaluate("valid")["accuracy"] <= 1
    hub = AutoTrainer(tmp_path / "corpus.csv", model_name="org/name", run_dir=tmp_path / "hub")
    assert hub.space.defaults()["encoder.text.options.transformers.weights"] == "hf-hub:org/name"


@pytest.mark.parametrize("preset", [None, "quick"])
def test_a_table_gets_what_the_command_line_gives_it(tmp_path, tiny_bert, preset):
    (tmp_path / "corpus.csv").write_text("text,label\n" + "".join(f"the red cat {i},{i % 2}\n" for i in range(40)))
    made = AutoTrainer(tmp_path / "corpus.csv", model_name=str(tiny_bert), preset=preset, run_dir=tmp_path / "run")
    words = ["+task=classification", f"data.train={tmp_path / 'corpus.csv'}", "data.target=label"]
    words += [f"encoder.text.weights=local-dir:{tiny_bert}", *([f"search={preset}"] if preset else [])]
    said = to_settings(compose(words), tmp_path, run_dir=tmp_path / "run", overrides=words)
    assert replace(made.settings, overrides=(), config={}) == replace(said, overrides=(), config={})
    assert (made.settings.search.trials > 100) is (preset is None)


def test_when_time_is_up_the_best_so_far_is_the_best(trainer):
    best = trainer.hyperopt(timeout=0.0)
    found = trainer._stages.searched
    assert found.stopped_by == "timeout"
    assert best == found.trials[0].candidate
    assert [trial.state for trial in found.trials if trial.values] == ["completed"]


def test_a_bundle_goes_where_it_is_asked_to(trainer, tmp_path):
    folder = trainer.fit(trainer.space.defaults()).export(tmp_path / "served")
    assert folder == tmp_path / "served"
    assert not (trainer.run_dir / "bundle").exists()
    answers = Predictor.open(folder).predict([{"question": "Is the red object on the left?"}])
    assert answers[0]["answer"] in trainer._stages.task.labels
