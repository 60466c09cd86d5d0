"""VQA v2 files, from the JSON to the answers of the bundle."""

import json

import numpy as np
import pytest
from vqa_files import Files

from automm.flow import run
from automm.runtime import Predictor

from .conftest import settings_in

SMALL = (
    "+task=vqa",
    "data=vqa_v2",
    "fusion=concat",
    "training.batch_size=30",
    "training.epochs=1",
    "executor=in_process",
    "search.trials=1",
    "search.min_epochs=1",
    "search.max_epochs=1",
    "baselines.unimodal=false",
)


@pytest.fixture
def files(tmp_path):
    """A training set and a test set of three questions an image."""
    train = Files(tmp_path / "train", name="COCO_train2014_{:012d}.jpg")
    return train.write(), Files(tmp_path / "test", first=100, images=4).write()


def asked(train, test):
    """The command, with `test` the keys that are given for the test set."""
    keys = {"data": train.options(), "data.test": test}
    return (*SMALL, *(f"{prefix}.{key}={path}" for prefix, given in keys.items() for key, path in given.items()))


def test_from_files_to_an_answering_bundle(files, tmp_path):
    train, test = files
    done = run(settings_in(tmp_path, asked=asked(train, test.options())))
    answers = json.loads((done.run_dir / "predictions.json").read_text())
    assert [set(each) for each in answers] == [{"question_id", "answer"}] * 12
    assert [each["question_id"] for each in answers] == [question["question_id"] for question in test.questions]
    right = [each["answer"] == f"a{each['question_id'] % 10}" for each in answers]  # ten people gave that answer
    values = json.loads((done.run_dir / "result.json").read_text())
    assert values["goal"] == {"metric": "vqa_score", "direction": "maximize"}
    assert values["test"]["vqa_score"] == pytest.approx(np.mean(right))
    assert values["test"]["vqa_score/yes/no"] == pytest.approx(np.mean(right[1::3]))
    assert values["baselines"]["majority"]["vqa_score"] == pytest.approx(1 / 3)
    rows = [
        {"image": test.pictures / f"COCO_val2014_{question['image_id']:012d}.jpg", "question": question["question"]}
        for question in test.questions
    ]
    served = Predictor.open(done.run_dir / "bundle").predict(rows)
    assert [each["answer"] for each in served] == [each["answer"] for each in answers]


def test_questions_that_nobody_has_answered_are_answered_and_not_judged(files, tmp_path):
    train, test = files
    unanswered = {key: path for key, path in test.options().items() if key != "annotations"}
    done = run(settings_in(tmp_path, "export.enabled=false", asked=asked(train, unanswered)))
    answers = json.loads((done.run_dir / "predictions.json").read_text())
    assert [each["question_id"] for each in answers] == [question["question_id"] for question in test.questions]
    assert {each["answer"] for each in answers} <= {"a0", "a1", "a2"}
    assert done.values["test"] == {}
    assert "vqa_score" in done.values["best"]["valid"]
    assert (done.run_dir / "report.html").exists()
