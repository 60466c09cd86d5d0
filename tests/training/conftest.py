"""A tiny visual question answering set on real components: 8 x 8 images of one colour, two questions about each."""

from pathlib import Path

import numpy as np
import pytest

from automm.building import build_model, build_solver, fit_preprocessors
from automm.data.field_store import FieldStore
from automm.settings import TrainingSettings
from automm.tasks.classification import Classification
from automm.training.fit import FitJob, Part
from automm.types import Column, FieldSpec, Schema, Table

SCHEMA = Schema((FieldSpec("image", "image"), FieldSpec("question", "text")))
QUESTIONS = ["is it red", "is it blue", "is it green"]
COLOURS = np.eye(3, dtype=np.uint8) * 200


def make_table(images: int, *, seed: int = 0, missing: bool = False) -> Table:
    """Two questions an image; yes or no; some rows of either kind lack their image or question where asked."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 3, images)
    noise = rng.integers(0, 50, (images, 8, 8, 3), dtype=np.uint8)
    values = list(np.broadcast_to(COLOURS[colour][:, None, None], (images, 8, 8, 3)) + noise)
    image = np.repeat(np.arange(images), 2)
    question = rng.integers(0, 3, 2 * images)
    asked = np.array([0, 2, 1])[question]  # red, blue, green are the channels 0, 2, 1
    targets = np.where(colour[image] == asked, "yes", "no").tolist()
    if missing:
        image, question = image.copy(), question.copy()
        image[::5], question[3::7] = -1, -1
    columns = {"image": Column(values, image), "question": Column(QUESTIONS, question)}
    groups = {"colour": np.array(["red", "green", "blue"])[np.repeat(colour, 2)]}
    return Table(SCHEMA, columns, targets, list(range(2 * images)), groups)


def make_candidate(**training):
    """Small components; keyword options are the solver's."""
    candidate = {
        "encoder.image.name": "convnet",
        "encoder.image.options.convnet.width": 8,
        "encoder.image.options.convnet.channels": 8,
        "encoder.image.options.convnet.depth": 2,
        "encoder.text.name": "text_transformer",
        "encoder.text.options.text_transformer.width": 8,
        "encoder.text.options.text_transformer.layers": 1,
        "encoder.text.options.text_transformer.heads": 2,
        "fusion.name": "concat",
        "fusion.options.concat.hidden": 16,
        "training.solver": "gradient",
    }
    if training.get("solver") == "closed_form":
        return {**candidate, **{f"training.{k}": v for k, v in training.items()}}
    return {
        **candidate,
        "training.batch_size": 16,
        "training.hidden": 0,
        **{f"training.{k}": v for k, v in training.items()},
    }


class Bench:
    """A train and a validation table and everything between a candidate and its fit."""

    def __init__(self, train: Table, valid: Table, task=None) -> None:
        self.train, self.valid = train, valid
        self.task = task or Classification()
        self.task.fit(train)

    def part(self, table: Table, preprocessors) -> Part:
        stores = {f: FieldStore(f, p, table.columns[f], 1 << 24) for f, p in preprocessors.items()}
        return Part.of(table, stores, self.task, group_by="image")

    def job(self, candidate, *, start=0, stop=2, horizon=None, patience=None, seed=0, **paths) -> FitJob:
        preprocessors = fit_preprocessors(candidate, SCHEMA, self.train)
        return FitJob(
            model=build_model(candidate, SCHEMA, self.task, preprocessors=preprocessors, seed=seed),
            task=self.task,
            train=self.part(self.train, preprocessors),
            valid=self.part(self.valid, preprocessors),
            seed=seed,
            start_epoch=start,
            stop_epoch=stop,
            horizon=horizon or stop,
            settings=TrainingSettings(stop, patience, "cpu", "auto", 1),
            **paths,
        )

    def fit(self, candidate, **how):
        """The result, the model and what was reported."""
        job, reports = self.job(candidate, **how), []
        result = build_solver(candidate).fit(job, lambda epoch, values: reports.append((epoch, values)))
        return result, job.model, reports


@pytest.fixture
def bench() -> Bench:
    return Bench(make_table(24), make_table(12, seed=1))


@pytest.fixture
def gappy() -> Bench:
    return Bench(make_table(24, missing=True), make_table(12, seed=1, missing=True))


@pytest.fixture
def candidate():
    return make_candidate


@pytest.fixture
def save_to(tmp_path: Path) -> Path:
    return tmp_path / "trial" / "fit.safetensors"
